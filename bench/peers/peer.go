package peers

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"

	"forebay/bench/private"
)

// peer is a cache that may be installed.
type peer struct {
	name    string
	program string   // looked for on PATH, and in the directories where packages put servers
	version []string // arguments that make it print its version
	// plan configures it as a cache in front of the origin, host:port, for so many cores.
	plan func(path, origin string, cores int) private.Plan
}

// versionNumber finds the version in what programs print.
var versionNumber = regexp.MustCompile(`\d+\.\d+[.\d]*`)

func known() []peer {
	return []peer{
		{"nginx", "nginx", []string{"-v"}, nginx},
		{"varnish", "varnishd", []string{"-V"}, varnish},
		{"haproxy", "haproxy", []string{"-v"}, haproxy},
		{"trafficserver", "traffic_server", []string{"-V"}, trafficServer},
	}
}

// find returns the program's path and version; "" if it is not installed.
func (p *peer) find() (path, version string) {
	for _, candidate := range []string{p.program, "/usr/sbin/" + p.program, "/usr/local/sbin/" + p.program} {
		path, err := exec.LookPath(candidate)
		if err != nil {
			continue
		}
		out, _ := exec.Command(path, p.version...).CombinedOutput() // some end with an error beside their version
		return path, versionNumber.FindString(string(out))
	}
	return "", ""
}

// servant is whom servers run as when the caller is root, so that they need not change it themselves.
const servant = "nobody"

// nginx: keep-alive both ways, open files kept, sendfile, one worker a core, as its own guide to caching says.
func nginx(path, origin string, cores int) private.Plan {
	conf := fmt.Sprintf(`worker_processes %d;
worker_rlimit_nofile 16384;
daemon off;
pid %%DIR%%/nginx.pid;
error_log stderr warn;
events { worker_connections 4096; multi_accept on; }
http {
    access_log off;
    sendfile on; tcp_nopush on; tcp_nodelay on;
    keepalive_timeout 300s; keepalive_requests 1000000000;
    open_file_cache max=12000 inactive=1h; open_file_cache_valid 1h; open_file_cache_min_uses 1;
    client_body_temp_path %%DIR%%/t1; proxy_temp_path %%DIR%%/t2; fastcgi_temp_path %%DIR%%/t3; uwsgi_temp_path %%DIR%%/t4; scgi_temp_path %%DIR%%/t5;
    proxy_cache_path %%DIR%%/cache levels=1:2 keys_zone=documents:64m max_size=8g inactive=1h use_temp_path=off;
    upstream origin { server %s; keepalive 64; }
    server {
        listen 127.0.0.1:%%PORT%% backlog=4096;
        location / {
            proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_cache documents; proxy_cache_key $uri; proxy_cache_lock on;
        }
    }
}
`, cores, origin)
	return private.Plan{
		Name: "nginx", As: servant, Files: map[string]string{"nginx.conf": conf},
		Command: []string{path, "-p", "%DIR%", "-c", "%DIR%/nginx.conf"},
	}
}

// varnish: bodies in memory, two thread pools as shipped, threads for every connection made beforehand.
func varnish(path, origin string, _ int) private.Plan {
	host, port, _ := strings.Cut(origin, ":")
	vcl := fmt.Sprintf("vcl 4.1;\nbackend origin { .host = %q; .port = %q; }\n", host, port)
	return private.Plan{
		Name: "varnish", As: servant, Files: map[string]string{"documents.vcl": vcl},
		Command: []string{
			path, "-F", "-j", "none", "-a", "127.0.0.1:%PORT%", "-f", "%DIR%/documents.vcl", "-n", "%DIR%/work", "-s", "malloc,6G",
			"-p", "thread_pool_min=250", "-p", "thread_pool_max=2000", "-p", "timeout_idle=300",
		},
	}
}

// haproxy: one thread a core, a cache twice as large as the documents (it is taken at the start), connections to the origin shared.
func haproxy(path, origin string, cores int) private.Plan {
	conf := fmt.Sprintf(`global
    nbthread %d
    maxconn 8000
defaults
    mode http
    timeout connect 5s
    timeout client 300s
    timeout server 30s
    timeout http-keep-alive 300s
    http-reuse always
cache documents
    total-max-size 1024
    max-object-size 1000000
    max-age 3600
frontend public
    bind 127.0.0.1:%%PORT%% backlog 4096
    http-request cache-use documents
    http-response cache-store documents
    default_backend origin
backend origin
    server origin %s
`, cores, origin)
	return private.Plan{
		Name: "haproxy", As: servant, Files: map[string]string{"haproxy.cfg": conf},
		Command: []string{path, "-db", "-f", "%DIR%/haproxy.cfg"},
	}
}

// trafficServer: one event thread a core, everything in the memory tier, no log.
func trafficServer(path, origin string, cores int) private.Plan {
	records := fmt.Sprintf(`CONFIG proxy.config.http.server_ports STRING %%PORT%%:ip-in=127.0.0.1
CONFIG proxy.config.exec_thread.autoconfig INT 0
CONFIG proxy.config.exec_thread.limit INT %d
CONFIG proxy.config.accept_threads INT 0
CONFIG proxy.config.cache.ram_cache.size INT 4294967296
CONFIG proxy.config.cache.ram_cache_cutoff INT 4194304
CONFIG proxy.config.log.logging_enabled INT 0
CONFIG proxy.config.http.keep_alive_no_activity_timeout_in INT 300
CONFIG proxy.config.http.insert_response_via_str INT 0
CONFIG proxy.config.reverse_proxy.enabled INT 1
CONFIG proxy.config.url_remap.remap_required INT 1
CONFIG proxy.config.admin.user_id STRING #-1
CONFIG proxy.config.diags.output.error STRING E
`, cores)
	dirs := ""
	for _, name := range []string{"prefix", "exec_prefix", "localstatedir", "runtimedir", "logdir", "cachedir", "sysconfdir", "datadir"} {
		dirs += name + ": %DIR%\n"
	}
	dirs += "bindir: /usr/bin\nsbindir: /usr/sbin\nlibdir: /usr/lib\nlibexecdir: /usr/lib/trafficserver/modules\nincludedir: /usr/include\nmandir: /usr/share/man\ninfodir: /usr/share/info\n"
	return private.Plan{
		Name: "trafficserver", As: servant,
		Files: map[string]string{
			"records.config": records, "remap.config": "map / http://" + origin + "/\n", "storage.config": "%DIR% 4G\n",
			"ip_allow.yaml": "ip_allow:\n  - {apply: in, ip_addrs: 127.0.0.1, action: allow, methods: ALL}\n",
			"plugin.config": "", "runroot.yaml": dirs, "logging.yaml": "logging: {}\n",
		},
		Command: []string{path, "--run-root=%DIR%/runroot.yaml"},
	}
}
