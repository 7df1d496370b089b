/* tap.c - a guest's TAP: made by us, handed to us by the caller, or got from a helper.
 *
 * How it is handed to the guest decides what is held. By fd: every queue, for as long as the lab
 * stands. Unattached: an open /dev/net/tun of the device's namespace, which the guest attaches. By
 * name: nothing; the device persists, and is deleted with its namespace, or, in the host's, by name,
 * ifindex and MAC.
 */
#include "op/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "op/helper.h"
#include "op/user.h"
#include "op/program.h"
#include "sys/tun.h"
#include "sys/tunlive.h"
#include "sys/vhost.h"

#define HOST_MS 5000 /* the kernel answers a message on the host's links well within this */

static const struct rec adopted_table[] = {
	REC(REC_INT, struct op_fd, from),
	REC(REC_INT, struct op_fd, to),
	REC_END,
};

static const struct rec tap_table[] = {
	REC(REC_STR, struct op_tap, name),
	REC(REC_U32, struct op_tap, source),
	REC(REC_U32, struct op_tap, handoff),
	REC(REC_U32, struct op_tap, ifindex),
	REC(REC_U32, struct op_tap, queues),
	REC(REC_MAC, struct op_tap, mac),
	REC(REC_BOOL, struct op_tap, persist),
	REC(REC_INT, struct op_tap, fd),
	REC(REC_BOOL, struct op_tap, vnet_hdr),
	REC(REC_BOOL, struct op_tap, carrier_off),
	REC(REC_U32, struct op_tap, vnet_hdr_len),
	REC(REC_U32, struct op_tap, endian),
	REC(REC_U32, struct op_tap, offload),
	REC(REC_U32, struct op_tap, sndbuf),
	REC(REC_U32, struct op_tap, enabled),
	REC(REC_U32, struct op_tap, steering),
	REC(REC_U32, struct op_tap, steering_queue),
	REC(REC_STR, struct op_tap, steering_object),
	REC(REC_STR, struct op_tap, owner),
	REC(REC_STR, struct op_tap, group),
	REC_SUBS(struct op_tap, adopted, n_adopted, adopted_table, struct op_fd),
	REC_SUB(struct op_tap, helper, program_table),
	REC(REC_STR, struct op_tap, helper_bridge),
	REC(REC_U32, struct op_tap, helper_ms),
	REC_END,
};

/* ---- settings */

static unsigned tap_offload(uint32_t bits)
{
	static const unsigned flags[] = { TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6, TUN_F_TSO_ECN,
					  TUN_F_UFO,  TUN_F_USO4, TUN_F_USO6 };
	unsigned offload = 0;

	for (size_t i = 0; i < COUNT(flags); i++)
		offload |= bits >> i & 1 ? flags[i] : 0;
	return offload;
}

/* object: the heap's, freed by the caller. */
static int tap_settings(const struct ctx *ctx, const struct op_tap *tap, char **object,
			struct tun_settings *ret_set, struct err *err)
{
	int r;

	*ret_set = (struct tun_settings){
		.vnet_hdr = tap->vnet_hdr,
		.vnet_hdr_len = tap->vnet_hdr_len,
		.endian = (enum tun_endian)tap->endian,
		.offload = tap_offload(tap->offload),
		.sndbuf = (int)tap->sndbuf,
		.steering = (enum tun_steering)tap->steering,
		.steering_queue = tap->steering_queue,
		.enabled = tap->enabled,
		.carrier_off = tap->carrier_off,
	};
	r = user_number(tap->owner, &ret_set->owner, err);
	if (r == 0)
		r = user_group_number(tap->group, &ret_set->group, err);
	if (r < 0 || !tap->steering_object)
		return r;
	*object = program_expand(ctx, tap->steering_object);
	ret_set->steering_object = *object;
	return *object ? 0 : err_sys(err, -ENOMEM, "no memory for a path");
}

/* ---- making */

/* Keeps the number taken when nothing is held there. */
static int tap_let_go(int fd, struct err *err)
{
	autofd int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup3(null, fd, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot let go of fd %d", fd);
	return 0;
}

/* In the host's namespace nothing bounds a persistent device's life: who it is is stored before it
 * persists. */
static int tap_persist_in_host(struct ctx *ctx, uint32_t i, const struct tun_settings *set,
			       struct err *err)
{
	const struct op_tap *tap = ctx_step(ctx, i)->args;
	int ifindex = host_link(tap->name, "tun", &tap->mac, err);

	if (ifindex < 0)
		return ifindex;
	ctx->slots[i].ifindex = (uint32_t)ifindex;
	return tun_set(tap->fd, tap->queues, set, true, err);
}

static int tap_handoff(const struct op_tap *tap, struct err *err)
{
	int r = tap->handoff == TAP_BY_FD ? 0 : tap_let_go(tap->fd, err);

	if (r == 0 && tap->handoff == TAP_UNATTACHED)
		r = tun_open(tap->fd, err);
	return r < 0 ? r : 0;
}

static int tap_make(struct ctx *ctx, uint32_t i, const struct tun_settings *set, struct err *err)
{
	const struct op_tap *tap = ctx_step(ctx, i)->args;
	bool host = ctx_step(ctx, i)->space == SPACE_HOST;
	int r = tun_make(
		&(struct tun_make){
			.name = tap->name,
			.ifindex = tap->ifindex,
			.queues = tap->queues,
			.mac = &tap->mac,
			.persist = tap->persist && !host,
			.first_fd = tap->fd,
			.set = *set,
		},
		err);

	if (r == 0 && tap->persist && host)
		r = tap_persist_in_host(ctx, i, set, err);
	return r < 0 ? r : tap_handoff(tap, err);
}

/* ---- adopting */

static int tap_adopt(struct ctx *ctx, uint32_t i, const struct tun_settings *set, struct err *err)
{
	const struct step *step = ctx_step(ctx, i);
	const struct op_tap *tap = step->args;
	int *shown autofree = calloc(tap->queues, sizeof *shown);
	struct strbuf stale autostr = STRBUF_INIT;
	struct strbuf words autostr = STRBUF_INIT;
	struct tun_adopted adopted;
	int r;

	if (!shown)
		return err_sys(err, -ENOMEM, "no memory for %u fds", tap->queues);
	for (int k = 0; k < (int)tap->queues; k++)
		shown[k] = tap->source == TAP_ADOPTED ? tap->adopted[k].from : tap->fd + k;
	r = tun_adopt(tap->fd, tap->queues, shown, set, &adopted, &stale, err);
	if (r < 0)
		return r;
	if (stale.len) {
		strbuf_printf(&words, "took over %s; stale was: %s\n", adopted.name, stale.text);
		if (ctx->say)
			ctx->say(ctx, step, words.text, words.len);
	}
	return 0;
}

static int tap_apply(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_tap *tap = ctx_step(ctx, i)->args;
	char *object autofree = NULL;
	struct tun_settings set;
	int r = ctx_enter(ctx, ctx_step(ctx, i)->space, err);

	if (r == 0)
		r = tap_settings(ctx, tap, &object, &set, err);
	if (r == 0 && tap->source == TAP_HELPED)
		r = helper_get(ctx, i, &tap->helper, tap->helper_bridge, true, tap->fd,
			       tap->helper_ms, err);
	if (r < 0)
		return r;
	return tap->source == TAP_MADE ? tap_make(ctx, i, &set, err) : tap_adopt(ctx, i, &set, err);
}

/* The caller's vhost-net fds belong to the guest that set them up: new ones take their place. */
static int tap_new_vhost(const struct op_tap *tap, struct err *err)
{
	for (int k = (int)tap->queues; k < tap->n_adopted; k++) {
		autofd int fd = vhost_open(err);

		if (fd < 0)
			return fd;
		if (dup3(fd, tap->adopted[k].to, O_CLOEXEC) < 0)
			return err_sys(err, -errno, "cannot open vhost-net anew");
	}
	return 0;
}

/* A device that its guest attaches: while nobody has it, we do, and set it. */
static int tap_visit(const struct op_tap *tap, const struct tun_settings *set, struct err *err)
{
	int r = tun_join(tap->name, tap->vnet_hdr, tap->fd, err);
	struct err ignored;

	if (r >= 0)
		r = tun_mac(tap->fd, &tap->mac, err);
	if (r >= 0)
		r = tun_set(tap->fd, tap->queues, set, tap->persist, err);
	if (r < 0)
		(void)tap_let_go(tap->fd, &ignored);
	return r < 0 ? r : tap_handoff(tap, err);
}

int tap_again(struct ctx *ctx, uint32_t i, bool persist, bool carrier, struct err *err)
{
	const struct op_tap *tap = ctx_step(ctx, i)->args;
	char *object autofree = NULL;
	struct tun_settings set;
	int r = tap_settings(ctx, tap, &object, &set, err);

	set.carrier_off = !carrier;
	if (r == 0)
		r = tap_new_vhost(tap, err);
	if (r == 0 && tap->handoff == TAP_BY_FD)
		return tun_set(tap->fd, tap->queues, &set, persist, err);
	if (r == 0)
		r = ctx_enter(ctx, ctx_step(ctx, i)->space, err);
	if (r == 0)
		r = tap_visit(tap, &set, err);
	ctx_leave(ctx);
	return r;
}

int tap_rest(const struct op_tap *tap, struct err *err)
{
	struct tun_state state;
	int r;

	if (tap->handoff != TAP_BY_FD)
		return tap_let_go(tap->fd, err);
	r = tun_state(tap->fd, &state, err);
	if (r == 0)
		r = tun_carrier(tap->fd, false, err);
	for (uint32_t q = 0; r == 0 && state.flags & IFF_MULTI_QUEUE && q < tap->queues; q++)
		r = tun_queue(tap->fd + (int)q, false, err);
	return r;
}

/* ---- undoing */

static int tap_undo(struct ctx *ctx, uint32_t i, struct err *err)
{
	const struct op_tap *tap = ctx_step(ctx, i)->args;
	int ifindex, nl;

	if (ctx->have_fds)
		for (uint32_t q = 0; q < tap->queues; q++)
			(void)close(tap->fd + (int)q);
	if (!tap->persist || ctx_step(ctx, i)->space != SPACE_HOST)
		return 0;
	if (!ctx->slots[i].ifindex)
		return 0; /* it never came to that */
	ifindex = host_own(ctx, i, tap->name, "tun", &tap->mac, err);
	if (ifindex <= 0)
		return ifindex;
	nl = ctx_nl(ctx, SPACE_HOST, err);
	if (nl < 0)
		return nl;
	nlb_dellink(&ctx->batch, i, (uint32_t)ifindex);
	nl = nlb_flush(&ctx->batch, nl, io_now_ms() + HOST_MS, err);
	return nl == -ENODEV ? 0 : nl;
}

/* ---- for people */

static void describe_settings(const struct op_tap *tap, struct strbuf *out)
{
	static const char *const endians[] = { "", "little", "big" };

	if (tap->vnet_hdr_len)
		strbuf_printf(out, " of %u bytes", tap->vnet_hdr_len);
	if (tap->endian)
		strbuf_printf(out, " %s endian", endians[tap->endian % COUNT(endians)]);
	if (tap->offload)
		strbuf_printf(out, "  offload 0x%x", tap_offload(tap->offload));
	if (tap->sndbuf)
		strbuf_printf(out, "  sndbuf %u", tap->sndbuf);
	if (tap->enabled)
		strbuf_printf(out, "  %u enabled", tap->enabled);
	if (tap->steering == TUN_QUEUE)
		strbuf_printf(out, "  steering queue %u", tap->steering_queue);
	else if (tap->steering == TUN_OBJECT)
		strbuf_printf(out, "  steering %s", tap->steering_object);
	else if (tap->steering == TUN_HASH)
		strbuf_puts(out, "  steering hash");
	if (tap->carrier_off)
		strbuf_puts(out, "  carrier off");
	if (tap->owner)
		strbuf_printf(out, "  owner %s", tap->owner);
	if (tap->group)
		strbuf_printf(out, "  group %s", tap->group);
}

static void describe_made(const struct step *step, const struct op_tap *tap, struct strbuf *out)
{
	char mac[MAC_TEXT];

	strbuf_printf(out, "tap %s", tap->name);
	if (tap->ifindex)
		strbuf_printf(out, "  ifindex %u", tap->ifindex);
	strbuf_printf(out, "  %s  %u queue%s  vnet-hdr %s", mac_text(&tap->mac, mac), tap->queues,
		      tap->queues == 1 ? "" : "s", tap->vnet_hdr ? "on" : "off");
	describe_settings(tap, out);
	if (tap->persist && step->space == SPACE_HOST)
		strbuf_puts(out, "  persistent");
	if (tap->handoff == TAP_BY_NAME)
		strbuf_puts(out, "  by name");
	else
		strbuf_printf(out, "  %sfd %d", tap->handoff == TAP_UNATTACHED ? "unattached " : "",
			      tap->fd);
}

static void tap_describe(const struct plan *plan, const struct step *step, struct strbuf *out)
{
	const struct op_tap *tap = step->args;

	(void)plan;
	if (tap->source == TAP_MADE) {
		describe_made(step, tap, out);
		return;
	}
	strbuf_puts(out, "tap ");
	if (tap->source == TAP_HELPED) {
		strbuf_puts(out, "of the helper ");
		program_describe(&tap->helper, out);
		strbuf_printf(out, " on %s", tap->helper_bridge);
	}
	for (int k = 0; k < (int)tap->queues && tap->source == TAP_ADOPTED; k++)
		strbuf_printf(out, "%s%d", k ? ":" : "of the caller's fd ", tap->adopted[k].from);
	describe_settings(tap, out);
	strbuf_printf(out, "  fd %d", tap->fd);
}

const struct op op_tap = {
	.name = "tap",
	.args = tap_table,
	.size = sizeof(struct op_tap),
	.apply = tap_apply,
	.phase = UNDO_FD,
	.undo = tap_undo,
	.describe = tap_describe,
	.undone_by = "close of its fds",
};
