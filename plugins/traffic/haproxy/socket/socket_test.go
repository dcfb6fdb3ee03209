package socket

import (
	"errors"
	"testing"
)

// TestProcesses reads what versions of HAProxy have answered.
func TestProcesses(t *testing.T) {
	for version, text := range map[string]string{
		"2.6": "#<PID>          <type>          <reloads>       <uptime>        <version>      \n" +
			"18957           master          1 [failed: 2]   0d00h10m57s     2.6.12-1+deb12u3\n" +
			"# workers\n30694           worker          0               0d00h00m00s     2.6.12-1+deb12u3\n" +
			"# old workers\n18960           worker          1               0d00h10m57s     2.6.12-1+deb12u3\n# programs\n\n",
		"2.4": "#<PID>          <type>          <relative PID>  <reloads>       <uptime>        <version>      \n" +
			"18957           master          0               1               0d00h10m57s     2.4.0\n" +
			"# workers\n30694           worker          1               0               0d00h00m00s     2.4.0\n" +
			"# old workers\n18960           worker          [was: 1]        1               0d00h10m57s     2.4.0\n# programs\n\n",
	} {
		p, err := parseProcesses(text)
		w, ok := p.Current()
		if err != nil || !ok || w.PID != 30694 || p.Master != 18957 || len(p.Workers) != 2 || p.Reloads != 1 || !p.Workers[1].Old {
			t.Errorf("%s: %+v, %v", version, p, err)
		}
		if version == "2.6" && (p.Failed != 2 || w.Version != "2.6.12-1+deb12u3") {
			t.Errorf("%s: %+v", version, p)
		}
	}
	if _, err := parseProcesses("Unknown command\n"); err == nil {
		t.Error("a stats socket passes for a master socket")
	}
}

// FuzzAnswers: whatever HAProxy says, reading it does not crash.
func FuzzAnswers(f *testing.F) {
	f.Add("# pxname,svname,scur,stot,status,econ,eresp,hrsp_5xx,check_status,addr,mode\nb,s1,1,2,UP,0,0,0,* L7OK,127.0.0.1:1,http\n")
	f.Add("# table: b, type: integer, size:10240, used:1\n0x7f: key=10300 use=0 exp=119968 gpc0=4 gpc0_rate(60000)=4\n")
	f.Add("0x55: proto=tcpv4 src=127.0.0.1:5 fe=f be=b srv=s1 ts=00\n")
	f.Add("0x7f6b5c03f750 generation 8\n")
	f.Fuzz(func(_ *testing.T, text string) {
		_, _ = Servers(text)
		_ = Entries(text)
		_ = Rates(text)
		_ = Sessions(text)
		_, _ = parseProcesses(text)
		_, _ = split(text, 2)
	})
}

func TestSplit(t *testing.T) {
	answers, err := split("no need to change the addr\n\n\n# name\na\nb\n\n", 3)
	if err != nil || answers[0] != "no need to change the addr\n" || answers[1] != "" || answers[2] != "# name\na\nb\n" {
		t.Errorf("%q, %v", answers, err)
	}
	for _, text := range []string{"Can't find the target PID matching the prefix '@!1'\n", "one\n\n"} {
		if _, err := split(text, 2); err == nil {
			t.Errorf("%q passes for two answers", text)
		}
	}
}

// TestCutAnswer: fewer answers than commands are told apart from wrong ones, for who can read again.
func TestCutAnswer(t *testing.T) {
	for text, cut := range map[string]bool{"": true, "one\n\n": true, "one\n\ntw": false, "1\n\n2\n\n3\n\n": false} {
		if _, err := split(text, 2); errors.Is(err, ErrCut) != cut {
			t.Errorf("split of %q: %v, want it cut off: %v", text, err, cut)
		}
	}
}

func TestTables(t *testing.T) {
	servers, err := Servers("# pxname,svname,scur,stot,status,econ,eresp,hrsp_5xx,check_status,addr,mode,\n" +
		"b,s1,1,7,DRAIN 1/2,3,4,2,* L7OK,127.0.0.1:80,http,\nb,s2,0,9,UP,3,4,0,L4OK,[::1]:80,tcp,\n\n")
	if err != nil || len(servers) != 2 {
		t.Fatalf("%+v, %v", servers, err)
	}
	if s := servers[0]; s.Up() || !s.Draining() || s.Sessions != 1 || s.Total != 7 || s.Errors != 2 || s.Check != "L7OK" {
		t.Errorf("%+v", s)
	}
	if s := servers[1]; !s.Up() || s.Errors != 7 || s.Address != "[::1]:80" {
		t.Errorf("%+v", s)
	}
	quoted, err := Servers("# pxname,svname,scur,stot,status,econ,eresp,hrsp_5xx,check_status,addr,mode,\n" +
		"\"a \"\"b\"\", c\",s1,1,7,UP,0,0,0,\"\",127.0.0.1:80,http,\nb,s2,0,\n")
	if err != nil || len(quoted) != 1 || quoted[0].Backend != `a "b", c` || quoted[0].Check != "" || quoted[0].Address != "127.0.0.1:80" {
		t.Errorf("%+v, %v", quoted, err)
	}
	if rates := Rates("# table: b\n0x1: key=10300 use=0 exp=1 gpc0=9 gpc0_rate(60000)=4\n"); rates[10300] != 4 {
		t.Errorf("%v", rates)
	}
	if sessions := Sessions("0x55d: proto=tcpv4 src=1 fe=f be=b srv=s1 ts=00\n"); sessions["0x55d"] != [2]string{"b", "s1"} {
		t.Errorf("%v", sessions)
	}
}
