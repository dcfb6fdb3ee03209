package table

import (
	"bytes"
	"testing"
)

func TestTable(t *testing.T) {
	tab := New("NAME", "STATE")
	style := Style{Color: true}
	tab.Row("shop", style.Good("healthy"))
	tab.Row("längerer", "x")
	tab.Row("short")
	var plain, colored bytes.Buffer
	if err := tab.Write(&colored, style); err != nil {
		t.Fatal(err)
	}
	if err := tab.Write(&plain, Style{}); err != nil {
		t.Fatal(err)
	}
	want := "NAME      STATE\nshop      healthy\nlängerer  x\nshort\n"
	if got := escape.ReplaceAllString(plain.String(), ""); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := escape.ReplaceAllString(colored.String(), ""); got != want {
		t.Errorf("colours move columns: %q", got)
	}
}

func TestCleanDisarmsEscapes(t *testing.T) {
	if got := Clean("a\x1b[2Jb\tc\u009bd\r"); got != "a·[2Jb c·d·" {
		t.Errorf("%q", got)
	}
}
