/* rights.c - the capabilities that programs of nodes and guests keep, when they run as root.
 *
 * Kept is what daemons of a network are written for: to configure it, to listen, to change user, to
 * lock memory, to mount. Dropped is what reaches the machine behind the namespaces, and what their
 * programs have no business with: modules, devices, the clock, the kernel's log, other processes.
 * A program that keeps all this still has root's files: it is no wall (ARCHITECTURE.md, Trust).
 */
#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "sys/child.h"

#define BIT(cap) (UINT64_C(1) << (cap))

static const uint64_t kept =
	BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_NET_BROADCAST) |
	BIT(CAP_SYS_ADMIN) | BIT(CAP_SYS_CHROOT) | BIT(CAP_SYS_NICE) | BIT(CAP_SYS_RESOURCE) |
	BIT(CAP_IPC_LOCK) | BIT(CAP_IPC_OWNER) | BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) |
	BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | BIT(CAP_KILL) |
	BIT(CAP_SETGID) | BIT(CAP_SETUID) | BIT(CAP_SETPCAP) | BIT(CAP_LEASE) |
	BIT(CAP_AUDIT_WRITE) /* without it sshd ends logins */ | BIT(CAP_BPF);

/* From the bounding set, or the next execve() as root would bring them back; from the inheritable
 * set, since that passes by the bounding one. A caller who may not has none to lose. */
int child_drop(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	for (unsigned cap = 0; cap < 64; cap++) {
		if (kept & BIT(cap))
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0) {
			if (errno == EINVAL) /* this kernel knows no more */
				break;
			if (errno != EPERM)
				return -1;
		}
	}
	if (syscall(SYS_capget, &head, data) < 0)
		return -1;
	for (size_t i = 0; i < COUNT(data); i++) {
		data[i].permitted &= (uint32_t)(kept >> 32 * i);
		data[i].effective &= data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) < 0 ? -1 : 0;
}
