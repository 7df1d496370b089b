/* vlan.c - operations on VLANs: of a bridge's ports, and sub-interfaces. */
#include "op/op.h"

/* ---- vlans */

const struct rec op_vlan_table[] = {
	REC(REC_U32, struct vlan, first),
	REC(REC_U32, struct vlan, last),
	REC(REC_BOOL, struct vlan, untagged),
	REC(REC_BOOL, struct vlan, pvid),
	REC_END,
};

static const struct rec vlans_table[] = {
	REC(REC_STR, struct op_vlans, name),
	REC(REC_U32, struct op_vlans, ifindex),
	REC(REC_BOOL, struct op_vlans, given),
	REC_SUBS(struct op_vlans, vlans, n_vlans, op_vlan_table, struct vlan),
	REC_END,
};

static void vlans_encode(const struct ctx *ctx, uint32_t i, struct nlbatch *batch)
{
	const struct op_vlans *vlans = ctx_step(ctx, i)->args;

	nlb_vlans(batch, i, vlans->ifindex, vlans->vlans, vlans->n_vlans);
}

static void vlans_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_vlans *vlans = step->args;

	(void)plan;
	strbuf_printf(out, "%s  ", vlans->name);
	vlans_text(vlans->vlans, vlans->n_vlans, out);
	if (!vlans->given)
		strbuf_puts(out, " (by default)");
}

const struct op op_vlans = {
	.name = "vlans",
	.args = vlans_table,
	.size = sizeof(struct op_vlans),
	.encode = vlans_encode,
	.describe = vlans_describe,
	.undone_by = "with its port",
};

/* ---- subif */

static const struct rec subif_table[] = {
	REC(REC_STR, struct op_subif, name),	REC(REC_STR, struct op_subif, parent_name),
	REC(REC_U32, struct op_subif, ifindex), REC(REC_U32, struct op_subif, parent),
	REC(REC_U32, struct op_subif, vlan),	REC(REC_MAC, struct op_subif, mac),
	REC(REC_U32, struct op_subif, mtu),	REC_END,
};

static void subif_encode(const struct ctx *ctx, uint32_t i, struct nlbatch *batch)
{
	const struct op_subif *subif = ctx_step(ctx, i)->args;

	nlb_vlan_link(batch, i,
		      &(struct nlb_vlan_link){
			      .name = subif->name,
			      .ifindex = subif->ifindex,
			      .parent = subif->parent,
			      .vlan = (uint16_t)subif->vlan,
			      .mac = &subif->mac,
			      .mtu = subif->mtu,
		      });
}

static void subif_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_subif *subif = step->args;
	char mac[MAC_TEXT];

	(void)plan;
	strbuf_printf(out, "%s  ifindex %u  vlan %u of %s  %s", subif->name, subif->ifindex,
		      subif->vlan, subif->parent_name, mac_text(&subif->mac, mac));
	if (subif->mtu)
		strbuf_printf(out, "  mtu %u", subif->mtu);
}

const struct op op_subif = {
	.name = "subif",
	.args = subif_table,
	.size = sizeof(struct op_subif),
	.encode = subif_encode,
	.describe = subif_describe,
	.undone_by = "with its namespace",
};
