"""The scripts by which a shell completes the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from buildlib.commands.session import Edge
from buildlib.errors import InputError, did_you_mean

# The programs that run the tasks.
_PROGRAMS: Final = "buildlib invoke inv"

# `compgen -W` would expand what a word holds, so words are compared here. Readline replaces only
# what comes after the last `=` or `:`, and passes that as the second argument.
_BASH: Final = """\
# Completion for bash, in ~/.bashrc: eval "$(buildlib completion bash)"
_buildlib_complete() {
    local line=${COMP_LINE:0:COMP_POINT} current candidate kept
    local -a words
    read -ra words <<<"$line"
    [[ $line != *[[:space:]] ]] || words+=("")
    current=${words[${#words[@]}-1]}
    kept=${current%"$2"}
    COMPREPLY=()
    while IFS= read -r candidate; do
        [[ $candidate != "$current"* ]] || COMPREPLY+=("${candidate#"$kept"}")
    done < <("$1" --complete -- "${words[@]}" 2>/dev/null)
}
complete -o default -F _buildlib_complete PROGRAMS
"""
_ZSH: Final = """\
#compdef PROGRAMS
# Completion for zsh, as a file _buildlib in fpath or in ~/.zshrc: eval "$(buildlib completion zsh)"
_buildlib() {
    local -a candidates
    candidates=("${(@f)$("${(Q)words[1]}" --complete -- "${(@Q)words[1,CURRENT]}" 2>/dev/null)}")
    if [[ -n "$candidates" ]]; then compadd -a candidates; else _files; fi
}
if [[ $funcstack[1] == _buildlib ]]; then
    _buildlib "$@"
else
    (( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
    compdef _buildlib PROGRAMS
fi
"""
_FISH: Final = """\
# Completion for fish, in ~/.config/fish/config.fish: buildlib completion fish | source
function __buildlib_complete
    set -l words (commandline --tokenize --cut-at-cursor --current-process)
    set -l current (commandline --current-token --cut-at-cursor)
    set -l candidates ($words[1] --complete -- $words "$current" 2>/dev/null)
    if set -q candidates[1]
        printf '%s\\n' $candidates
    else
        __fish_complete_path "$current"
    end
end
for program in PROGRAMS
    complete --command $program --no-files --arguments '(__buildlib_complete)'
end
"""
SCRIPTS: Final[Mapping[str, str]] = {
    name: text.replace("PROGRAMS", _PROGRAMS)
    for name, text in {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}.items()
}


def print_script(run: Edge, shell: str) -> None:
    """Print the script of a shell.

    Raises:
        InputError: there is none (exit 2).
    """
    if shell not in SCRIPTS:
        raise InputError(
            f"there is no completion for {shell!r}",
            hint=did_you_mean(shell, SCRIPTS),
        )
    run.console.answer(SCRIPTS[shell].rstrip("\n"))
