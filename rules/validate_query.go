package rules

import (
	"errors"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// rowsStatement is the name of a rule's only statement, and of the one that row_count, csv and formats are about.
const rowsStatement = "rows"

// queryCompiler is a routeCompiler at a route that runs SQL.
type queryCompiler struct {
	*routeCompiler
	query *Query
	used  map[string]bool // the parameters that something depends on
	doubt bool            // a statement could not be read to its end, so it may use more
}

// query compiles a route that runs SQL.
func (r *routeCompiler) query() {
	q := &queryCompiler{routeCompiler: r, query: &Query{Status: r.entry.Status}, used: make(map[string]bool)}
	r.rule.Query = q.query
	q.setting()
	q.plan()
	if r.entry.Batch != nil {
		q.batch()
	}
	q.statements()
	q.response()
	q.responseHeaders()
	q.formats()
	q.unused()
}

// setting judges what a SQL route stands on.
func (q *queryCompiler) setting() {
	if q.file.Postgres == nil && !q.noDatabase {
		q.noDatabase = true
		q.mistake(q.at("route"), "it has a query, and the file has no postgres section to run it on; add postgres: {url: \"${DATABASE_URL}\"}")
	}
	if q.file.Postgres != nil {
		q.rule.Source = databaseName(string(q.file.Postgres.URL))
	}
	if q.entry.Reads == "primary" && q.rule.Writes() {
		q.mistake(q.at("reads"), "primary keeps a query that reads away from postgres.standby, and this route writes, on the primary as ever; remove it")
	}
	switch q.rule.Method {
	case "GET", "POST", "PUT", "PATCH", "DELETE":
	case "":
		q.mistake(q.at("route"), "a query answers one method; write it in front of the path, as in GET %s", q.rule.Pattern.Text)
	case "HEAD":
		q.mistake(q.at("route"), "HEAD is answered by the GET route of the path; remove this one")
	case "OPTIONS":
		q.mistake(q.at("route"), "OPTIONS is answered by forebay; say what browsers may do under cors of the path's other routes")
	default:
		q.mistake(q.at("route"), "a query answers GET, POST, PUT, PATCH or DELETE, not %s", q.rule.Method)
	}
	if s := q.query.Status; s < 200 || s > 299 {
		q.mistake(q.at("status"), "%d is not the status of a success; want 200 to 299", s)
	}
}

func (q *queryCompiler) plan() {
	q.oneOf(q.at("plan"), q.entry.Plan, "auto", "custom")
	q.query.CustomPlan = q.entry.Plan == "custom"
	q.rule.Pure = q.entry.Pure
}

// statements reads one or several statements. The parameters must be there before.
func (q *queryCompiler) statements() {
	if q.entry.Query != "" {
		word := strings.TrimSpace(q.entry.Query)
		source := source{key: q.at("query"), sql: q.entry.Query}
		if strings.HasSuffix(word, ".sql") && !strings.ContainsAny(word, " \t\n\r") {
			source.file, source.sql = word, ""
		}
		q.statement(rowsStatement, source, q.at("rows"), q.entry.Rows)
		return
	}
	if q.given(q.at("rows")) {
		q.mistake(q.at("rows"), "with queries each statement has rows of its own; move it there")
	}
	q.entry.Rows = ""
	if q.rule.Writes() {
		q.mistake(q.at("queries"), "a write runs one statement, so that it is done as a whole or not at all; join them by WITH under query")
	}
	for _, e := range q.entry.Queries {
		path := join(q.at("queries"), e.Key)
		switch {
		case !isName(e.Key) || slices.Contains([]string{"row_count", "csv", "generated_at", "param"}, e.Key):
			q.mistake(path, "%q cannot be the name of a statement; choose a word of letters, digits and _ that templates have no other use for", e.Key)
		case e.Value.File != "" && e.Value.SQL != "":
			q.mistake(path, "it has both file and sql; keep one of them")
			q.unreadable(e.Key)
		case e.Value.File == "" && e.Value.SQL == "":
			q.mistake(path, "there is no statement; give its file, or the sql itself")
			q.unreadable(e.Key)
		case e.Value.File != "":
			q.statement(e.Key, source{key: path + ".file", file: e.Value.File}, path+".rows", e.Value.Rows)
		default:
			q.statement(e.Key, source{key: path + ".sql", sql: e.Value.SQL}, path+".rows", e.Value.Rows)
		}
	}
}

// unreadable keeps the place of a statement that is not there, so that templates may name it.
func (q *queryCompiler) unreadable(name string) {
	q.query.Statements = append(q.query.Statements, Statement{Name: name})
	q.doubt = true
}

// source is where a statement's text comes from.
type source struct {
	key  string // the path in the YAML
	file string // relative to the configuration; empty for SQL in the YAML itself
	sql  string
}

func (q *queryCompiler) statement(name string, s source, rowsPath, rows string) {
	st := Statement{Name: name, Rows: q.rowsOf(rowsPath, rows), File: q.report.file, Line: q.position(s.key).Line}
	q.query.Statements = append(q.query.Statements, st)
	if s.file != "" {
		text, ok := q.readSQL(s.key, s.file)
		if !ok {
			q.doubt = true
			return
		}
		s.sql, st.File, st.places = text, filepath.Join(q.base, filepath.FromSlash(s.file)), placesOfFile(text)
	} else {
		st.places = q.placesIn(q.nodes[s.key], s.sql)
	}
	if len(st.places) > 0 {
		st.Line = st.places[0].line
	}
	scanned, err := scanSQL(s.sql, q.parameter)
	var wrong *SQLError
	if errors.As(err, &wrong) {
		q.doubt = true
		q.mistakeAt(st.placeOf(wrong.offset(s.sql)), s.key, "%s", wrong.Message)
		return
	}
	q.doubt = q.doubt || len(scanned.unknown) > 0
	for _, mark := range scanned.unknown {
		q.mistakeAt(st.placeOf(mark.offset(s.sql)), s.key, "@%s is no parameter of this route%s", mark.Name, q.advice(mark.Name))
	}
	st.SQL, st.Params, st.seams = scanned.out.String(), scanned.params, scanned.seams
	q.mayRun(s, st.SQL)
	q.query.Statements[len(q.query.Statements)-1] = st
}

func (q *queryCompiler) readSQL(key, name string) (string, bool) {
	if !fs.ValidPath(path.Clean(name)) || path.IsAbs(name) {
		q.mistake(key, "%q is outside the configuration's directory; put the file beside or below the configuration, and name it from there", name)
		return "", false
	}
	if q.dir == nil {
		q.mistake(key, "%q cannot be read, as this configuration has no directory; write the SQL itself", name)
		return "", false
	}
	text, err := fs.ReadFile(q.dir, path.Clean(name))
	if err != nil {
		q.mistake(key, "cannot read %q: %v; the path counts from the configuration's directory", name, withoutPath(err))
		return "", false
	}
	return string(text), true
}

func (q *queryCompiler) rowsOf(path, text string) Rows {
	shapes := []string{Many: "many", One: "one", Value: "value", None: "none"}
	if i := slices.Index(shapes, text); i >= 0 {
		return Rows(i)
	}
	q.mistake(path, "%q is no shape of a result%s", text, meant(text, shapes))
	return Many
}

// parameter finds what a statement's @name is bound to. A parameter with a mistake of its own counts as there.
func (q *queryCompiler) parameter(name string) (int, bool) {
	list := q.rule.Params
	if q.rule.Batch != nil {
		list = q.rule.Batch.Item
	}
	if name == bodyName && slices.ContainsFunc(list, func(p Param) bool { return p.In == FromBody }) {
		for _, p := range list {
			q.used[p.Name] = q.used[p.Name] || p.In == FromBody
		}
		return -1, true
	}
	q.used[name] = true
	if i := slices.IndexFunc(list, func(p Param) bool { return p.Name == name }); i >= 0 {
		return i, true
	}
	return 0, slices.Contains(q.broken, name)
}

// advice says what to do about a name that is no parameter.
func (q *queryCompiler) advice(name string) string {
	list, where := q.rule.Params, "params, body or headers"
	if q.rule.Batch != nil {
		list, where = q.rule.Batch.Item, "batch.item"
	}
	if name == bodyName {
		return "; @body is there when the route declares fields under body or batch.item"
	}
	var names []string
	for _, p := range list {
		names = append(names, p.Name)
	}
	if hint := meant(name, names); strings.Contains(hint, "did you mean") {
		return strings.Replace(strings.TrimSuffix(hint, "?"), `mean "`, `mean "@`, 1) + "? Otherwise declare it under " + where
	}
	return "; declare it under " + where
}

// mayRun refuses statements that cannot do what the route is for.
func (q *queryCompiler) mayRun(s source, sql string) {
	word := firstWord(sql)
	switch word {
	case "insert", "update", "delete", "merge", "truncate":
		if !q.rule.Writes() {
			q.mistake(s.key, "it begins with %s, and a %s that reads runs on a read-only connection; make the route a write (POST without reads, PUT, PATCH, DELETE)", word, q.rule.Method)
		}
	case "begin", "commit", "rollback", "start", "savepoint", "set", "reset", "copy", "listen", "prepare", "discard":
		q.mistake(s.key, "it begins with %s, which is no statement with a result; forebay sees to transactions, settings and copying itself", word)
	}
}

// unused warns of parameters that split the key and change nothing.
func (q *queryCompiler) unused() {
	if q.doubt {
		return
	}
	if q.rule.Batch != nil {
		for _, p := range q.rule.Batch.Item {
			if !q.used[p.Name] {
				q.warn(join(q.at("batch.item"), p.field()), "@%s is in no statement, so it is read and dropped; use it or remove it", p.Name)
			}
		}
		return
	}
	for _, p := range q.rule.Params {
		if q.used[p.Name] {
			continue
		}
		key := map[Source]string{FromPath: "params", FromQuery: "params", FromBody: "body", FromHeader: "headers"}[p.In]
		path := join(q.at(key), p.field())
		if !q.given(path) {
			path = q.at("route") // a {name} without a type
		}
		q.warn(path, "@%s is in no statement or template, so it splits the key for nothing; use it or remove it", p.Name)
	}
}
