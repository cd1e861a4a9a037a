package postgres

import "strings"

// words are the identifiers in a SQL text, in lower case, each with whether a parenthesis follows it
// anywhere. What stands in strings and comments counts, too: a function may build its SQL from them, and
// a word too many costs a look, never a wrong answer.
type words map[string]bool

func wordsOf(text string) words {
	w := make(words)
	for i := 0; i < len(text); {
		if !isWordStart(text[i]) {
			i++
			continue
		}
		from := i
		for i < len(text) && (isWordStart(text[i]) || text[i] >= '0' && text[i] <= '9' || text[i] == '$') {
			i++
		}
		rest := strings.TrimLeft(strings.TrimPrefix(text[i:], `"`), " \t\r\n")
		word := strings.ToLower(text[from:i])
		w[word] = w[word] || strings.HasPrefix(rest, "(")
	}
	return w
}

func isWordStart(c byte) bool {
	return c == '_' || c >= 0x80 || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// isWord reports whether the name is found as one word.
func isWord(name string) bool {
	w := wordsOf(name)
	_, ok := w[strings.ToLower(name)]
	return ok && len(w) == 1
}

// hasAny reports whether one of the list is among the words.
func (w words) hasAny(list ...string) bool {
	for _, word := range list {
		if _, ok := w[word]; ok {
			return true
		}
	}
	return false
}

// withoutStrings leaves strings and comments out of a SQL text: what operators stand in them is compared or
// shown, and never run. A text whose quotes may be escaped otherwise than by doubling stays as it is.
func withoutStrings(text string) string {
	if strings.Contains(text, `\'`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		end := silentEnd(text, i)
		switch {
		case end > len(text):
			return text // it does not end: read otherwise than Postgres does
		case end > i:
			i = end - 1
			out.WriteByte(' ')
		case text[i] == '"':
			end := min(skipQuoted(text, i), len(text)-1)
			out.WriteString(text[i : end+1])
			i = end
		default:
			out.WriteByte(text[i])
		}
	}
	return out.String()
}

// silentEnd returns where the string or comment that begins at i ends; i if none begins there, and more than
// the text's length if it does not end.
func silentEnd(text string, i int) int {
	rest := text[i:]
	end := func(after int, mark string) int {
		at := strings.Index(rest[after:], mark)
		if at < 0 {
			return len(text) + 1
		}
		return i + after + at + len(mark)
	}
	switch {
	case rest[0] == '\'':
		return skipQuoted(text, i) + 1
	case strings.HasPrefix(rest, "--"):
		return min(end(2, "\n"), len(text))
	case strings.HasPrefix(rest, "/*"):
		if at := end(2, "*/"); at <= len(text) && !strings.Contains(text[i+2:at], "/*") {
			return at
		}
		return len(text) + 1 // comments nest: rare enough to be left alone
	case rest[0] == '$' && (i == 0 || !isWordStart(text[i-1]) && (text[i-1] < '0' || text[i-1] > '9')):
		if tag := dollarTag(rest); tag != "" {
			return end(len(tag), tag)
		}
	}
	return i
}

// dollarTag returns the $tag$ at the beginning, or "".
func dollarTag(text string) string {
	for i := 1; i < len(text); i++ {
		switch c := text[i]; {
		case c == '$':
			return text[:i+1]
		case !isWordStart(c) && (i == 1 || c < '0' || c > '9'):
			return ""
		}
	}
	return ""
}
