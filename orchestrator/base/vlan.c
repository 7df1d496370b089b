/* vlan.c - see vlan.h. */
#include "base/vlan.h"

#include <string.h>

enum { VLAN_THERE = 1, VLAN_UNTAGGED = 2, VLAN_PVID = 4 };

static void vlans_mark(const struct vlan *v, int n, uint8_t marks[VLAN_MAX + 1])
{
	memset(marks, 0, VLAN_MAX + 1);
	for (int i = 0; i < n; i++)
		for (uint32_t id = v[i].first; id <= v[i].last && id <= VLAN_MAX; id++)
			marks[id] = (uint8_t)(VLAN_THERE | (v[i].untagged ? VLAN_UNTAGGED : 0) |
					      (v[i].pvid ? VLAN_PVID : 0));
}

bool vlans_same(const struct vlan *a, int n_a, const struct vlan *b, int n_b)
{
	uint8_t marks[2][VLAN_MAX + 1];

	vlans_mark(a, n_a, marks[0]);
	vlans_mark(b, n_b, marks[1]);
	return memcmp(marks[0], marks[1], sizeof marks[0]) == 0;
}

/* " word 10,20-29" of all that have this mark. */
static void vlans_list(const uint8_t marks[VLAN_MAX + 1], uint8_t mark, const char *word,
		       struct strbuf *out)
{
	bool first = true;

	for (unsigned id = 1, end; id <= VLAN_MAX; id = end) {
		for (end = id + 1; end <= VLAN_MAX && marks[end] == mark && marks[id] == mark;)
			end++;
		if (marks[id] != mark)
			continue;
		if (first)
			strbuf_printf(out, "%s%s ", out->len ? " " : "", word);
		strbuf_printf(out, "%s%u", first ? "" : ",", id);
		if (end > id + 1)
			strbuf_printf(out, "-%u", end - 1);
		first = false;
	}
}

void vlans_text(const struct vlan *v, int n, struct strbuf *out)
{
	const uint8_t native = VLAN_THERE | VLAN_UNTAGGED | VLAN_PVID;
	struct strbuf text = STRBUF_INIT;
	uint8_t marks[VLAN_MAX + 1];

	vlans_mark(v, n, marks);
	vlans_list(marks, VLAN_THERE, "trunk", &text);
	vlans_list(marks, native, text.len ? "native" : "vlan", &text);
	vlans_list(marks, VLAN_THERE | VLAN_UNTAGGED, "untagged", &text); /* nothing of ours */
	vlans_list(marks, VLAN_THERE | VLAN_PVID, "pvid", &text);
	strbuf_puts(out, text.len ? text.text : "no vlan");
	out->failed |= text.failed;
	strbuf_free(&text);
}
