/* table.c - nodes, interfaces, peers and addresses in columns. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

#define COLUMNS 8

struct row {
	const char *cell[COLUMNS];
};

/* Addresses of a family, one a row; NULL past the last. */
static const char *address(struct arena *arena, const struct plan_iface *iface, uint8_t family,
			   int nth)
{
	char text[IP_TEXT];

	for (int i = 0; i < iface->n_addrs; i++)
		if (iface->addrs[i].ip.family == family && nth-- == 0)
			return arena_strdup(arena, ip_prefix_text(&iface->addrs[i].ip, text));
	return NULL;
}

static void print_rows(const struct row *rows, int n, struct strbuf *out)
{
	int width[COLUMNS] = { 0 };

	for (int i = 0; i < n; i++)
		for (int c = 0; c < COLUMNS; c++)
			if ((int)strlen(rows[i].cell[c]) > width[c])
				width[c] = (int)strlen(rows[i].cell[c]);
	for (int i = 0; i < n; i++) {
		struct strbuf line autostr = STRBUF_INIT;

		for (int c = 0; c < COLUMNS; c++)
			if (width[c])
				strbuf_printf(&line, "%-*s  ", width[c], rows[i].cell[c]);
		while (line.len && line.text[line.len - 1] == ' ')
			line.text[--line.len] = '\0';
		strbuf_printf(out, "%s\n", line.text);
	}
}

void cli_nodes(const struct plan *plan, const char *(*state)(void *arg, const struct plan_node *),
	       void *arg, struct strbuf *out)
{
	struct arena arena;
	struct err err;
	struct row *rows = NULL, head = { { "NODE", "KIND", "STATE", "INTERFACE", "PEER", "IPV4",
					    "IPV6", "MAC" } };
	int n = 0, cap = 0;
	bool v6 = false;

	if (arena_init(&arena, 0, &err) < 0)
		return;
	*ARENA_PUSH(&arena, rows, n, cap) = head;
	for (int k = 0; k < plan->n_nodes; k++) {
		const struct plan_node *node = &plan->nodes[k];
		int first = n;

		for (int i = 0; i < node->n_ifaces; i++) {
			const struct plan_iface *iface = &node->ifaces[i];
			char mac[MAC_TEXT];

			for (int a = 0;; a++) {
				const char *v4 = address(&arena, iface, 4, a),
					   *six = address(&arena, iface, 6, a);

				if (a && !v4 && !six)
					break;
				v6 = v6 || six;
				*ARENA_PUSH(&arena, rows, n, cap) = (struct row){
					{ "", "", "", a ? "" : iface->name, a ? "" : iface->peer,
					  v4  ? v4
					  : a ? ""
					      : "-",
					  six ? six
					  : a ? ""
					      : "-",
					  a || str_eq(iface->name, "lo")
						  ? ""
						  : arena_strdup(&arena,
								 mac_text(&iface->mac, mac)) }
				};
			}
		}
		if (n == first)
			*ARENA_PUSH(&arena, rows, n, cap) =
				(struct row){ { "", "", "", "-", "", "", "", "" } };
		rows[first].cell[0] = node->name;
		rows[first].cell[1] = node->kind;
		rows[first].cell[2] = state(arg, node);
	}
	for (int i = 0; i < n && !v6; i++) /* a lab without IPv6 needs no column for it */
		rows[i].cell[6] = "";
	print_rows(rows, n, out);
	arena_free(&arena);
}
