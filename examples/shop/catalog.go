package main

// Product is one thing on sale.
type Product struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Cents int    `json:"cents"`
}

// catalog is what the shop sells, in the order shown.
var catalog = []Product{
	{ID: "mug", Name: "Enamel mug", Cents: 1250},
	{ID: "lamp", Name: "Desk lamp", Cents: 4900},
	{ID: "rug", Name: "Woollen rug", Cents: 18900},
	{ID: "clock", Name: "Wall clock", Cents: 3600},
	{ID: "chair", Name: "Folding chair", Cents: 5400},
}

func productByID(id string) (Product, bool) {
	for _, p := range catalog {
		if p.ID == id {
			return p, true
		}
	}
	return Product{}, false
}
