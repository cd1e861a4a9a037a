package private

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Redis is a running server without password, and without persistence but for Save. Safe for concurrent use.
type Redis struct {
	*process
	bin      string
	settings []string
}

// StartRedis starts a server. Settings are pairs as on its command line: "--maxmemory", "64mb". The
// caller ends it with Stop; on Linux it also ends when the caller dies.
func StartRedis(ctx context.Context, settings ...string) (*Redis, error) {
	bin, err := RedisBinary()
	if err != nil {
		return nil, err
	}
	p, err := newProcess("redis")
	if err != nil {
		return nil, err
	}
	r := &Redis{process: p, bin: bin, settings: settings}
	if err := r.Start(ctx); err != nil {
		r.Stop()
		return nil, err
	}
	return r, nil
}

// Save writes what the server holds to its disk: that is what every later Start finds.
func (r *Redis) Save() error {
	conn, err := net.DialTimeout("tcp", r.Address(), time.Second)
	if err != nil {
		return fmt.Errorf("save Redis: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return fmt.Errorf("save Redis: %w", err)
	}
	if _, err := fmt.Fprint(conn, "SAVE\r\n"); err != nil {
		return fmt.Errorf("save Redis: %w", err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return fmt.Errorf("save Redis: %w", err)
	}
	if strings.TrimSpace(line) != "+OK" {
		return fmt.Errorf("save Redis: %s", strings.TrimSpace(line))
	}
	return nil
}

// Start starts the server again after Kill, on the same port: empty, or with what Save wrote last.
func (r *Redis) Start(ctx context.Context) error {
	args := append([]string{"--bind", "127.0.0.1", "--port", strconv.Itoa(r.port), "--save", "", "--appendonly", "no", "--dir", r.dir}, r.settings...)
	return r.start(ctx, r.ready, r.bin, args...)
}

// Stop ends the server and removes its directory.
func (r *Redis) Stop() {
	r.stop(syscall.SIGTERM, 5*time.Second)
	_ = os.RemoveAll(r.dir)
}

// URL returns redis://host:port.
func (r *Redis) URL() string { return "redis://" + r.Address() }

// ready asks the server for a PONG.
func (r *Redis) ready() error {
	conn, err := net.DialTimeout("tcp", r.Address(), time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprint(conn, "PING\r\n"); err != nil {
		return err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return err
	}
	if strings.TrimSpace(line) != "+PONG" {
		return errors.New("no PONG")
	}
	return nil
}
