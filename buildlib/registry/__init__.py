"""The registry client.

From the bottom: `address` and `connection` reach a server within `limits`; `request` makes one
request, whose `response` has `headers`; `transport` signs in with `credentials` and retries;
`repository` has the calls of the distribution-spec; `transfer` pushes and pulls images; `claim` and
`tags` write tags beside other publishers. `open` begins with the configured registries.
"""
