/* vlan.h - what a port of a bridge carries: ranges of VLANs, with their tags or without. */
#ifndef TAPNET_BASE_VLAN_H
#define TAPNET_BASE_VLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

#define VLAN_MAX     4094
#define VLAN_DEFAULT 1 /* of a port that says nothing */

struct vlan {
	uint32_t first, last; /* 1 … VLAN_MAX, the same where it is one */
	bool untagged;	      /* leaves without its tag */
	bool pvid;	      /* that of frames that come without one */
};

/* The same ranges in both, whatever their order and cuts. */
bool vlans_same(const struct vlan *a, int n_a, const struct vlan *b, int n_b);
/* "vlan 10", "trunk 10,20-29 native 1", "no vlan" */
void vlans_text(const struct vlan *v, int n, struct strbuf *out);

#endif
