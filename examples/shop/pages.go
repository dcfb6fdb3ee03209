package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Funcs(template.FuncMap{"price": price}).Parse(pageSource))

func price(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

type pageData struct {
	Identity
	Banner   string
	Products []Product
}

// home shows the catalogue.
func (s *Shop) home(w http.ResponseWriter, _ *http.Request) {
	s.render(w, catalog)
}

// product shows one product.
func (s *Shop) product(w http.ResponseWriter, r *http.Request) {
	p, ok := productByID(r.PathValue("id"))
	if !ok {
		http.Error(w, "no such product", http.StatusNotFound)
		return
	}
	s.render(w, []Product{p})
}

func (s *Shop) render(w http.ResponseWriter, products []Product) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if err := page.Execute(w, pageData{Identity: s.identity, Banner: s.config.Banner, Products: products}); err != nil {
		s.log.Warn("page not delivered", "error", err)
	}
}
