/* tunoffload.c - offloads of a TAP: their names, which go together, set and read.
 *
 * They are set through a queue's fd and do not need any privilege. The fd does not tell them; they
 * are features of the device, which ethtool's ioctl tells by the kernel's names.
 */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "sys/steer.h"
#include "sys/tunset.h"

#define USO (TUN_F_USO4 | TUN_F_USO6)

static const struct {
	unsigned bit;
	const char *name;
	const char *feature; /* NULL: the kernel takes it and makes nothing of it */
} offloads[] = {
	{ TUN_F_CSUM, "csum", "tx-checksum-ip-generic" },
	{ TUN_F_TSO4, "tso4", "tx-tcp-segmentation" },
	{ TUN_F_TSO6, "tso6", "tx-tcp6-segmentation" },
	{ TUN_F_TSO_ECN, "ecn", "tx-tcp-ecn-segmentation" },
	{ TUN_F_UFO, "ufo", NULL },
	{ TUN_F_USO4, "uso4", "tx-udp-segmentation" },
	{ TUN_F_USO6, "uso6", "tx-udp-segmentation" },
};

void tun_offload_words(struct strbuf *out, unsigned offload)
{
	const char *gap = "";

	for (size_t i = 0; i < COUNT(offloads); i++) {
		if (!(offload & offloads[i].bit))
			continue;
		strbuf_printf(out, "%s%s", gap, offloads[i].name);
		gap = " ";
	}
}

/* ---- setting */

int tunset_offload_check(unsigned offload, bool vnet_hdr, struct err *err)
{
	if (offload && !vnet_hdr)
		return err_set(err, -EINVAL, "offloads need a vnet header");
	if (offload && !(offload & TUN_F_CSUM))
		return err_set(err, -EINVAL, "offloads need csum");
	if ((offload & TUN_F_TSO_ECN) && !(offload & (TUN_F_TSO4 | TUN_F_TSO6)))
		return err_set(err, -EINVAL, "offload ecn needs tso4 or tso6");
	if ((offload & USO) && (offload & USO) != USO)
		return err_set(err, -EINVAL, "offloads uso4 and uso6 go together only");
	return 0;
}

/* Those that the kernel takes, each tried alone; it leaves the last one set. */
static unsigned offloads_known(int fd)
{
	unsigned known = 0;

	for (size_t i = 0; i < COUNT(offloads); i++) {
		unsigned bit = offloads[i].bit, with = TUN_F_CSUM | bit;

		if (bit == TUN_F_TSO_ECN)
			with |= TUN_F_TSO4;
		if (bit & USO)
			with |= USO;
		if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)with) == 0)
			known |= bit;
	}
	return known;
}

/* The kernel does not say what it did not like. */
static int offload_refused(int fd, unsigned offload, int code, struct err *err)
{
	struct strbuf words autostr = STRBUF_INIT;
	unsigned unknown;

	if (code != -EINVAL)
		return err_sys(err, code, "cannot set offloads");
	unknown = offload & ~offloads_known(fd);
	tun_offload_words(&words, unknown ? unknown : offload);
	err_set(err, code, "this kernel has no offload %s for TAPs", words.text);
	err->status = EXIT_UNABLE;
	return code;
}

int tunset_offload(int fd, unsigned offload, struct err *err)
{
	if (ioctl(fd, TUNSETOFFLOAD, (unsigned long)offload) < 0)
		return offload_refused(fd, offload, -errno, err);
	return 0;
}

void tun_try(int fd, struct tun_tried *ret_tried)
{
	autofd int program = -1;
	int big = 0;
	struct err ignored;

	ret_tried->offload = offloads_known(fd);
	ret_tried->big_endian = ioctl(fd, TUNGETVNETBE, &big) < 0 ? -errno : 0;
	program = steer_queue(0, &ignored);
	ret_tried->steering = program;
	if (program >= 0)
		ret_tried->steering = ioctl(fd, TUNSETSTEERINGEBPF, &program) < 0 ? -errno : 0;
	ret_tried->objects = steer_has_objects();
}

/* ---- reading */

static int feature_ask(int sock, const char *name, void *question)
{
	struct ifreq ifr = { .ifr_data = question };

	memcpy(ifr.ifr_name, name, strnlen(name, sizeof ifr.ifr_name - 1));
	return ioctl(sock, SIOCETHTOOL, &ifr) < 0 ? -errno : 0;
}

static int feature_count(int sock, const char *name, uint32_t *ret_n)
{
	struct ethtool_sset_info *info autofree = calloc(1, sizeof *info + sizeof *ret_n);
	int r;

	if (!info)
		return -ENOMEM;
	info->cmd = ETHTOOL_GSSET_INFO;
	info->sset_mask = UINT64_C(1) << ETH_SS_FEATURES;
	r = feature_ask(sock, name, info);
	if (r == 0)
		memcpy(ret_n, info->data, sizeof *ret_n);
	return r;
}

/* The offload that a feature stands for; 0 when none. */
static unsigned feature_offload(const char *feature)
{
	unsigned bits = 0;

	for (size_t i = 0; i < COUNT(offloads); i++)
		if (offloads[i].feature &&
		    strncmp(feature, offloads[i].feature, ETH_GSTRING_LEN) == 0)
			bits |= offloads[i].bit;
	return bits;
}

static int feature_read(int sock, const char *name, uint32_t n, unsigned *ret_offload)
{
	uint32_t blocks = (n + 31) / 32;
	struct ethtool_gstrings *names autofree =
		calloc(1, sizeof *names + (size_t)n * ETH_GSTRING_LEN);
	struct ethtool_gfeatures *now autofree =
		calloc(1, sizeof *now + blocks * sizeof now->features[0]);
	int r;

	if (!names || !now)
		return -ENOMEM;
	*names = (struct ethtool_gstrings){ .cmd = ETHTOOL_GSTRINGS,
					    .string_set = ETH_SS_FEATURES,
					    .len = n };
	*now = (struct ethtool_gfeatures){ .cmd = ETHTOOL_GFEATURES, .size = blocks };
	r = feature_ask(sock, name, names);
	if (r == 0)
		r = feature_ask(sock, name, now);
	for (uint32_t i = 0; i < n && r == 0; i++)
		if (now->features[i / 32].active >> i % 32 & 1)
			*ret_offload |= feature_offload((const char *)names->data +
							(size_t)i * ETH_GSTRING_LEN);
	return r;
}

int tun_offload(const char *name, unsigned *ret_offload, struct err *err)
{
	autofd int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	uint32_t n = 0;
	int r = sock < 0 ? -errno : feature_count(sock, name, &n);

	*ret_offload = 0;
	if (r == 0)
		r = feature_read(sock, name, n, ret_offload);
	return r < 0 ? err_sys(err, r, "cannot read the offloads of \"%s\"", name) : 0;
}

int tunset_offload_proof(const char *name, unsigned offload, struct err *err)
{
	struct strbuf words autostr = STRBUF_INIT;
	unsigned is;
	int r = tun_offload(name, &is, err);

	if (r < 0 || is == (offload & ~(unsigned)TUN_F_UFO))
		return r;
	tun_offload_words(&words, is);
	return err_set(err, -EPROTO, "the kernel gave it the offloads \"%s\"", words.text);
}
