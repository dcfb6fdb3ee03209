package socket

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Processes is what a master says of itself and its workers.
type Processes struct {
	Master  int // its process id
	Reloads int // how often it was told to reload
	Failed  int // reloads that failed since the last one that did not; -1 if it does not say
	Workers []Worker
}

// Current is the worker that takes new connections; ok is false if there is none.
func (p Processes) Current() (w Worker, ok bool) {
	for _, w := range p.Workers {
		if !w.Old {
			return w, true
		}
	}
	return Worker{}, false
}

// Present is the worker that takes new connections. After a reload that failed, versions of HAProxy list it
// among the old ones. ok is false if there is none.
func (m Master) Present(ctx context.Context, p Processes) (w Worker, ok bool) {
	if w, ok := p.Current(); ok {
		return w, true
	}
	for _, w := range p.Workers {
		answers, err := m.Ask(ctx, w.PID, "show info")
		if err == nil && strings.Contains(answers[0], "\nStopping: 0\n") {
			return w, true
		}
	}
	return Worker{}, false
}

// Processes lists the master and its workers.
func (m Master) Processes(ctx context.Context) (Processes, error) {
	text, err := m.exchange(ctx, "show proc\n")
	if err != nil {
		return Processes{}, err
	}
	if text == "" {
		return Processes{}, fmt.Errorf("%w: nothing came of show proc", ErrCut)
	}
	p, err := parseProcesses(text)
	if err == nil && m.Seen != nil {
		m.Seen.Store(int64(p.Master))
	}
	return p, err
}

// parseProcesses reads a table of process id, type, reloads, uptime and version, in parts that begin with
// a comment.
func parseProcesses(text string) (Processes, error) {
	var p Processes
	part, reloads := "", 2
	if strings.Contains(text, "<relative PID>") { // HAProxy 2.4
		reloads = 3
	}
	for scan := bufio.NewScanner(strings.NewReader(text)); scan.Scan(); {
		line := scan.Text()
		if rest, ok := strings.CutPrefix(line, "#"); ok {
			part = strings.TrimSpace(rest)
			continue
		}
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil {
			continue
		}
		switch {
		case fields[1] == "master":
			p.Master, p.Failed = pid, -1
			p.Reloads, _ = strconv.Atoi(fields[min(reloads, len(fields)-1)]) // it is a number
			if _, failed, ok := strings.Cut(line, "[failed: "); ok {
				number, _, _ := strings.Cut(failed, "]")
				p.Failed, _ = strconv.Atoi(number) // HAProxy before 2.5 does not say
			}
		case fields[1] == "worker" || strings.HasPrefix(fields[1], "worker"):
			p.Workers = append(p.Workers, Worker{PID: pid, Old: strings.HasPrefix(part, "old"), Version: fields[len(fields)-1]})
		}
	}
	if p.Master == 0 {
		return p, fmt.Errorf("this is no master socket of HAProxy: it answers %.100q to show proc; the driver needs the one of -S, not a stats socket", text)
	}
	return p, nil
}

// Reload makes the master load its configuration anew. It returns before that is done; what HAProxy 2.7
// and later say about it is returned.
func (m Master) Reload(ctx context.Context) (string, error) { return m.exchange(ctx, "reload\n") }
