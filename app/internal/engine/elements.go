package engine

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strings"
)

// blanks are what JSON takes as white space.
const blanks = " \t\r\n"

// maxElement bounds one element of a list, such as an image with its labels.
const maxElement = 2 << 20

// elements reads a JSON array and calls each with the text of one element after the other. The text
// is nil for an element that is too long, which is read past without being held; otherwise it is
// valid until each returns. What an element holds is not checked: whoever decodes it does that.
func elements(body io.Reader, each func(text []byte) error) error {
	in := bufio.NewReaderSize(body, 32<<10)
	opening, err := firstByte(in)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if opening != '[' {
		return unexpected(errors.New("not a JSON array"))
	}
	text := make([]byte, 0, 4<<10)
	length, depth, count := 0, 0, 0
	quoted, escaped := false, false
	for {
		char, err := in.ReadByte()
		if errors.Is(err, io.EOF) {
			return unexpected(io.ErrUnexpectedEOF)
		}
		if err != nil {
			return err
		}
		switch {
		case escaped:
			escaped = false
		case quoted && char == '\\':
			escaped = true
		case char == '"':
			quoted = !quoted
		case quoted:
		case char == '[' || char == '{':
			depth++
		case depth > 0 && (char == ']' || char == '}'):
			depth--
		case depth == 0 && (char == ',' || char == ']'):
			if char == ']' && count == 0 && len(bytes.Trim(text, blanks)) == 0 && length <= maxElement {
				return atEnd(in)
			}
			whole := text
			if length > maxElement {
				whole = nil
			}
			if err := each(whole); err != nil {
				return err
			}
			if char == ']' {
				return atEnd(in)
			}
			text, length = text[:0], 0
			count++
			continue
		}
		if length++; length <= maxElement {
			text = append(text, char)
		}
	}
}

func firstByte(in *bufio.Reader) (byte, error) {
	for {
		char, err := in.ReadByte()
		if err != nil || strings.IndexByte(blanks, char) < 0 {
			return char, err
		}
	}
}

// atEnd checks that nothing follows, and that the body ended as it should.
func atEnd(in *bufio.Reader) error {
	switch _, err := firstByte(in); {
	case err == nil:
		return unexpected(errors.New("there is more than one JSON value"))
	case errors.Is(err, io.EOF):
		return nil
	default:
		return err
	}
}
