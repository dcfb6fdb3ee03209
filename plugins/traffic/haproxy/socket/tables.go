package socket

import (
	"fmt"
	"slices"
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
	head, rest, _ := strings.Cut(strings.TrimPrefix(text, "# "), "\n")
	names := fields(nil, head)
	at := make([]int, len(columns))
	for i, name := range columns {
		if at[i] = slices.Index(names, name); at[i] < 0 {
			return nil, fmt.Errorf("show stat has no column %s: %.100q", name, text)
		}
	}
	var servers []Server
	var row []string
	for line := range strings.Lines(rest) {
		if row = fields(row[:0], strings.TrimSuffix(line, "\n")); len(row) < len(names)-1 || len(row) <= slices.Max(at) {
			continue
		}
		cell := func(c column) string { return row[at[c]] }
		number := func(c column) uint64 {
			n, _ := strconv.ParseUint(cell(c), 10, 64) // empty where it means nothing
			return n
		}
		s := Server{
			Backend: cell(proxyName), Name: cell(serverName), Address: cell(address),
			Status: cell(status), Check: strings.TrimPrefix(cell(checkStatus), "* "),
			Sessions: int(number(current)), Total: number(total), Errors: number(answers5xx),
		}
		if cell(mode) == "tcp" {
			s.Errors = number(connectErrors) + number(answerErrors)
		}
		servers = append(servers, s)
	}
	return servers, nil
}

// column is one of those of show stat that are read; there are a hundred, in an order of the version's.
type column int

const (
	proxyName column = iota
	serverName
	current
	total
	status
	connectErrors
	answerErrors
	answers5xx
	checkStatus
	address
	mode
)

var columns = []string{"pxname", "svname", "scur", "stot", "status", "econ", "eresp", "hrsp_5xx", "check_status", "addr", "mode"}

// fields cuts a line of comma-separated values. HAProxy puts those with a comma or a quote in quotes.
func fields(into []string, line string) []string {
	for {
		end := strings.IndexByte(line, ',')
		if strings.HasPrefix(line, `"`) {
			end = quoted(line)
		}
		if end < 0 || end >= len(line) {
			return append(into, plain(line))
		}
		into, line = append(into, plain(line[:end])), line[end+1:]
	}
}

// quoted is where the value in quotes ends with which a line begins: at a quote that is no pair.
func quoted(line string) int {
	for i := 1; i < len(line); i++ {
		if line[i] == '"' {
			if i+1 >= len(line) || line[i+1] != '"' {
				return i + 1
			}
			i++
		}
	}
	return len(line)
}

// plain is a value without its quotes.
func plain(value string) string {
	if len(value) < 2 || value[0] != '"' || value[len(value)-1] != '"' {
		return value
	}
	return strings.ReplaceAll(value[1:len(value)-1], `""`, `"`)
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
