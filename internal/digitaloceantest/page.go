package digitaloceantest

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
)

// page answers with a part of a list, as the request wants it, and where the next is.
func page[T any](r *http.Request, key string, all []T) reply {
	size, number := 20, 1
	query := r.URL.Query()
	if text := query.Get("per_page"); text != "" {
		size, _ = strconv.Atoi(text) // a number, by the description
	}
	if text := query.Get("page"); text != "" {
		number, _ = strconv.Atoi(text)
	}
	from := min((number-1)*size, len(all))
	to := min(from+size, len(all))
	pages := map[string]string{}
	link := func(number int) string {
		query := url.Values{}
		for name, values := range r.URL.Query() {
			query[name] = values
		}
		query.Set("page", strconv.Itoa(number))
		return fmt.Sprintf("https://api.digitalocean.com%s?%s", r.URL.Path, query.Encode())
	}
	if last := (len(all) + size - 1) / size; number < last {
		pages["next"], pages["last"] = link(number+1), link(last)
	}
	if number > 1 {
		pages["first"], pages["prev"] = link(1), link(number-1)
	}
	links := map[string]any{}
	if len(pages) > 0 {
		links["pages"] = pages
	}
	return reply{status: http.StatusOK, body: map[string]any{
		key: append([]T{}, all[from:to]...), "links": links, "meta": map[string]any{"total": len(all)},
	}}
}
