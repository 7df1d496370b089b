/* options.h - the command line of tapnet-guest, as values. */
#ifndef TAPNET_GUEST_OPTIONS_H
#define TAPNET_GUEST_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/ip.h"
#include "guest/tap.h"

enum {
	OPT_NICS_MAX = 16,
	OPT_LISTEN_MAX = 8,
	OPT_PING_MAX = 32,
	OPT_COUNT_DEFAULT = 4,
};

struct opt_nic {
	int fds[TAP_QUEUES_MAX];
	unsigned n_fds;
	bool has_mac;
	struct mac mac;
	struct ip ip, gw, ip6, gw6; /* family 0 when not given */
	enum tap_vnet vnet;
	uint16_t mtu;
};

struct options {
	const char *name;
	bool help, version;
	unsigned n_nics, n_listen, n_ping;
	struct opt_nic nics[OPT_NICS_MAX];
	uint16_t listen[OPT_LISTEN_MAX];
	struct ip ping[OPT_PING_MAX];
	unsigned count; /* replies to wait for; 0: without end */
};

extern const char options_help[];

/* Fills *ret_options; its name points into argv. -EINVAL says what is wrong with which option. */
int options_parse(int argc, char **argv, struct options *ret_options, struct err *err);

#endif
