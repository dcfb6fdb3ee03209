package socket

import (
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
)

// Server is one row of show stat.
type Server struct {
	Backend, Name string
	Address       string // host:port
	Status        string // such as "UP", "DRAIN 1/2", "MAINT"
	Check         string // such as "L7OK", "L4CON"; "INI" before the first
	Sessions      int    // under way
	Total         uint64 // begun
	Errors        uint64 // 5xx answers, or for TCP connections that failed
}

// Up says that the server gets requests, or would if it were not drained.
func (s Server) Up() bool {
	return strings.HasPrefix(s.Status, "UP") || s.Status == "DRAIN" || s.Status == "no check"
}

// Down says that a check has failed.
func (s Server) Down() bool { return strings.HasPrefix(s.Status, "DOWN") }

// Maintenance says that the server is switched off.
func (s Server) Maintenance() bool { return strings.HasPrefix(s.Status, "MAINT") }

// Draining says that the server gets no new requests by order.
func (s Server) Draining() bool { return strings.HasPrefix(s.Status, "DRAIN") }

// Servers reads the answer to show stat.
func Servers(text string) ([]Server, error) {
	if strings.TrimSpace(text) == "" {
		return nil, nil
	}
	reader := csv.NewReader(strings.NewReader(strings.TrimPrefix(text, "# ")))
	reader.FieldsPerRecord, reader.LazyQuotes = -1, true
	rows, err := reader.ReadAll()
	if err != nil {
		return nil, fmt.Errorf("show stat: %w", err)
	}
	column := make(map[string]int)
	for i, name := range rows[0] {
		column[name] = i
	}
	for _, name := range []string{"pxname", "svname", "scur", "stot", "status", "econ", "eresp", "hrsp_5xx", "check_status", "addr", "mode"} {
		if _, ok := column[name]; !ok {
			return nil, fmt.Errorf("show stat has no column %s: %.100q", name, text)
		}
	}
	var servers []Server
	for _, row := range rows[1:] {
		if len(row) < len(rows[0])-1 {
			continue
		}
		number := func(name string) uint64 {
			n, _ := strconv.ParseUint(row[column[name]], 10, 64) // empty where it means nothing
			return n
		}
		s := Server{
			Backend: row[column["pxname"]], Name: row[column["svname"]], Address: row[column["addr"]],
			Status: row[column["status"]], Check: strings.TrimPrefix(row[column["check_status"]], "* "),
			Sessions: int(number("scur")), Total: number("stot"), Errors: number("hrsp_5xx"),
		}
		if row[column["mode"]] == "tcp" {
			s.Errors = number("econ") + number("eresp")
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// Entry is a key of a map with its value.
type Entry struct{ Key, Value string }

// Entries reads the answer to show map.
func Entries(text string) []Entry {
	var entries []Entry
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 3 && strings.HasPrefix(fields[0], "0x") {
			entries = append(entries, Entry{fields[1], fields[2]})
		}
	}
	return entries
}

// Rates reads the answer to show table of a table with integer keys and gpc0_rate: the rate by key.
func Rates(text string) map[int]uint64 {
	rates := make(map[int]uint64)
	for line := range strings.Lines(text) {
		key, count := -1, uint64(0)
		for _, field := range strings.Fields(line) {
			name, value, ok := strings.Cut(field, "=")
			switch {
			case !ok:
			case name == "key":
				if n, err := strconv.Atoi(value); err == nil {
					key = n
				}
			case strings.HasPrefix(name, "gpc0_rate("):
				count, _ = strconv.ParseUint(value, 10, 64) // HAProxy writes numbers only
			}
		}
		if key >= 0 {
			rates[key] = count
		}
	}
	return rates
}

// Sessions reads the answer to show sess: backend and server by the session's id.
func Sessions(text string) map[string][2]string {
	sessions := make(map[string][2]string)
	for line := range strings.Lines(text) {
		id, rest, ok := strings.Cut(line, ": ")
		if !ok || !strings.HasPrefix(id, "0x") {
			continue
		}
		var server [2]string
		for _, field := range strings.Fields(rest) {
			if name, value, _ := strings.Cut(field, "="); name == "be" {
				server[0] = value
			} else if name == "srv" {
				server[1] = value
			}
		}
		sessions[id] = server
	}
	return sessions
}
