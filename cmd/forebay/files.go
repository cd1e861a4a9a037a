package main

import (
	"log/slog"

	"forebay/rules"
)

// otherFiles is how many files are open beside connections that the configuration bounds: listeners, the change
// stream, Redis, what the runtime needs.
const otherFiles = 64

// withinFiles returns the server's configuration with as many connections as the files that the process may open
// allow, beside those to databases and services; files is 0 where nobody knows. Without it clients could take all of
// them: then nothing that is not stored can be answered, as nobody can be asked.
func withinFiles(config *rules.Config, files int, logger *slog.Logger) rules.Server {
	server := config.Server
	beside := otherFiles
	if pg := config.Postgres; pg != nil {
		beside += pg.MaxConnections
		if pg.Standby != "" {
			beside += pg.MaxConnections // a pool of its own
		}
	}
	for _, u := range config.Upstreams {
		beside += u.MaxConnections
	}
	room := max(files-beside, files/2)
	if files > 0 && room < server.MaxConnections {
		logger.Warn("fewer connections than server.max_connections are accepted, as the process may not open enough files; raise its limit (ulimit -n)",
			"accepted", room, "max_connections", server.MaxConnections, "files", files, "needed", server.MaxConnections+beside)
		server.MaxConnections = room
	}
	return server
}
