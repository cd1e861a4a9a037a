package postgres

import (
	"maps"
	"slices"
	"strings"
)

// What a text says where it depends on the time of its statement. Functions whose result changes while the
// statement runs are another matter: see unsteady.
var (
	// timedWords are the time without a call.
	timedWords = []string{"current_timestamp", "current_date", "current_time", "localtimestamp", "localtime"}
	// timedCalls are the time when they are called.
	timedCalls = []string{"now", "statement_timestamp", "transaction_timestamp"}
	// timedLiterals are the time when they are read as a date or a timestamp, as in date 'today'.
	timedLiterals = []string{"'now'", "'today'", "'tomorrow'", "'yesterday'"}
)

// timed returns how the text depends on the time of day, as in "calls now()"; "" if it does not. What stands in
// strings counts in texts that functions build their SQL from, and in no others.
func timed(text string, inStrings bool) string {
	for _, literal := range timedLiterals {
		if strings.Contains(strings.ToLower(text), literal) {
			return "reads " + literal
		}
	}
	if !inStrings {
		text = withoutStrings(text)
	}
	w := wordsOf(text)
	for _, name := range timedCalls {
		if w[name] {
			return "calls " + name + "()"
		}
	}
	for _, word := range slices.Sorted(maps.Keys(w)) {
		if slices.Contains(timedWords, word) {
			return "reads " + word
		}
	}
	if w["age"] && agesFromNow(text) {
		return "calls age() with one argument"
	}
	return ""
}

// agesFromNow reports whether age() is called somewhere with one argument, and so counts from today.
func agesFromNow(text string) bool {
	text = strings.ToLower(text)
	for i := strings.Index(text, "age"); i >= 0; {
		rest := strings.TrimLeft(strings.TrimPrefix(text[i+len("age"):], `"`), " \t\r\n")
		isName := i == 0 || !isWordStart(text[i-1]) && (text[i-1] < '0' || text[i-1] > '9')
		if end := matching(rest); isName && end > 0 && rest[0] == '(' && len(splitTop(rest[1:end], ",")) == 1 {
			return true
		}
		next := strings.Index(text[i+1:], "age")
		if next < 0 {
			return false
		}
		i += 1 + next
	}
	return false
}

// timedReason says for people what time does to a rule that changes outdate; how is what timed returned.
func timedReason(how string) string {
	return "its TTL bounds what time alone changes (it " + how + ")"
}
