package rules

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"go.yaml.in/yaml/v4"
)

// duration is a length of time as a configuration writes it: 250ms, 30s, 5m, 1h30m, 7d.
type duration time.Duration

// size is a number of bytes as a configuration writes it: 64KiB and 1MiB (powers of 1024), 64kB and 1MB
// (powers of 1000).
type size int

func (v *duration) decodeNode(d *decoder, path string, n *yaml.Node) {
	text, ok := d.text(path, n, "a duration such as 30s")
	if !ok {
		return
	}
	parsed, err := parseDuration(text)
	if err != nil {
		d.mistake(path, "%v; write a number and its unit (ms, s, m, h or d), as in 250ms, 30s or 7d", err)
		return
	}
	*v = duration(parsed)
}

func (v *size) decodeNode(d *decoder, path string, n *yaml.Node) {
	text, ok := d.text(path, n, "a size such as 64KiB")
	if !ok {
		return
	}
	parsed, err := parseSize(text)
	if err != nil {
		d.mistake(path, "%v; write a number and its unit (B, KiB, MiB, GiB, or kB, MB, GB for powers of 1000), as in 64KiB", err)
		return
	}
	*v = size(parsed)
}

// parseDuration reads what time.ParseDuration does, and days in front of it. A bare number has no unit to
// go by, so not even 0 is one.
func parseDuration(text string) (time.Duration, error) {
	bad := fmt.Errorf("%q is not a duration", text)
	var days time.Duration
	rest := text
	if before, after, ok := strings.Cut(text, "d"); ok {
		n, err := strconv.ParseUint(before, 10, 16)
		if err != nil {
			return 0, bad
		}
		days, rest = time.Duration(n)*24*time.Hour, after
		if rest == "" {
			return days, nil
		}
	}
	if strings.Trim(rest, "0123456789.+-") == "" {
		return 0, bad
	}
	parsed, err := time.ParseDuration(rest)
	if err != nil {
		return 0, bad
	}
	if parsed < 0 {
		return 0, fmt.Errorf("%q is negative", text)
	}
	if parsed > math.MaxInt64-days {
		return 0, bad
	}
	return days + parsed, nil
}

func parseSize(text string) (int, error) {
	if strings.Trim(text, "0123456789.,+- ") == "" {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	n, err := humanize.ParseBytes(text)
	if err != nil || n > math.MaxInt {
		return 0, fmt.Errorf("%q is not a size", text)
	}
	return int(n), nil
}

// String returns the shortest text that reads back as the same duration.
func (v duration) String() string {
	t := time.Duration(v)
	if t >= 24*time.Hour && t%(24*time.Hour) == 0 {
		return strconv.FormatInt(int64(t/(24*time.Hour)), 10) + "d"
	}
	text := t.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// String returns a text that reads back as exactly the same number of bytes.
func (v size) String() string {
	for _, unit := range []struct {
		name  string
		bytes size
	}{{"GiB", humanize.GiByte}, {"MiB", humanize.MiByte}, {"KiB", humanize.KiByte}, {"GB", humanize.GByte}, {"MB", humanize.MByte}, {"kB", humanize.KByte}} {
		if v >= unit.bytes && v%unit.bytes == 0 {
			return strconv.Itoa(int(v/unit.bytes)) + unit.name
		}
	}
	return strconv.Itoa(int(v)) + "B"
}

// MarshalYAML writes the duration as a configuration would.
func (v duration) MarshalYAML() (any, error) { return v.String(), nil }

// MarshalYAML writes the size as a configuration would.
func (v size) MarshalYAML() (any, error) { return v.String(), nil }
