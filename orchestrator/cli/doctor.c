/* doctor.c - what this kernel and user can do, what is missing, and the command that mends it. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/io.h"
#include "cli/cli.h"
#include "kind/kind.h"
#include "sys/kvm.h"
#include "sys/probe.h"
#include "sys/tun.h"

#define FILES_FEW   65536
#define MODULES_MAX ((size_t)16 << 20)

struct machine {
	struct utsname uname;
	struct probe probe;
	struct rlimit files;
	struct strbuf modules; /* what this kernel could load: modules.dep */
	const char *user;
	bool kvm, qemu, bridge_nf;
	char run_words[512]; /* why the run directory is of no use; "" when it is */
};

struct finding {
	const char *thing, *means;
	const char *without; /* what labs cannot have then; NULL: it is only slower, or larger */
	bool never;	     /* no lab runs then */
	struct strbuf mend;
};

struct findings {
	struct finding v[24];
	int n;
};

/* ---- what mends */

static struct finding *add(struct findings *findings, const char *thing, const char *means,
			   const char *without)
{
	struct finding *finding = &findings->v[findings->n++];

	*finding = (struct finding){
		.thing = thing, .means = means, .without = without, .mend = STRBUF_INIT
	};
	return finding;
}

static bool has_module(const struct machine *machine, const char *module)
{
	char file[64];

	(void)snprintf(file, sizeof file, "/%s.ko", module);
	return strstr(machine->modules.text, file) != NULL;
}

static void mend_module(const struct machine *machine, struct finding *finding, const char *module,
			const char *config)
{
	if (has_module(machine, module))
		strbuf_printf(&finding->mend, "sudo modprobe %s", module);
	else
		strbuf_printf(&finding->mend, "a kernel with CONFIG_%s", config);
}

static void mend_package(struct finding *finding, const char *const packages[4])
{
	static const char *const tools[][2] = { { "/usr/bin/apt", "sudo apt install" },
						{ "/usr/bin/dnf", "sudo dnf install" },
						{ "/usr/bin/pacman", "sudo pacman -S" },
						{ "/sbin/apk", "sudo apk add" } };

	for (size_t i = 0; i < COUNT(tools); i++)
		if (access(tools[i][0], X_OK) == 0) {
			strbuf_printf(&finding->mend, "%s %s", tools[i][1], packages[i]);
			return;
		}
	strbuf_printf(&finding->mend, "install %s", packages[0]);
}

/* ---- what is missing */

static void find_namespaces(const struct machine *machine, struct findings *findings)
{
	struct finding *finding;

	if (geteuid() != 0) {
		finding = add(findings, "root", "labs need it for now", NULL);
		finding->never = true;
		strbuf_puts(&finding->mend, "sudo tapnet-lab up");
	}
	if (machine->probe.netns < 0) {
		finding = add(findings, "namespaces", "no network namespace can be made", NULL);
		finding->never = true;
		if (machine->probe.netns == -EPERM)
			strbuf_puts(&finding->mend, "more rights: CAP_SYS_ADMIN, outside of a "
						    "container");
		else
			strbuf_puts(&finding->mend, "a kernel with CONFIG_NET_NS");
	}
	if (machine->probe.userns < 0) {
		finding = add(findings, "user namespaces",
			      "`down` cannot watch the kernel let go of namespaces", NULL);
		strbuf_puts(&finding->mend, "sudo sysctl user.max_user_namespaces=10000");
	}
	if (*machine->run_words) {
		finding = add(findings, "run directory", machine->run_words, NULL);
		finding->never = true;
	}
}

static void find_links(const struct machine *machine, struct findings *findings)
{
	const struct probe *probe = &machine->probe;

	if (probe->netns < 0)
		return; /* it could not be tried */
	if (probe->veth < 0)
		mend_module(machine,
			    add(findings, "veth", "nodes cannot be wired", "links between nodes"),
			    "veth", "VETH");
	if (probe->bridge < 0)
		mend_module(machine, add(findings, "bridge", "there are no switches", "bridges"),
			    "bridge", "BRIDGE");
	else if (probe->vlan_filtering < 0)
		strbuf_puts(&add(findings, "vlan filtering", "bridges know no VLANs",
				 "VLANs on bridges")
				     ->mend,
			    "a kernel with CONFIG_BRIDGE_VLAN_FILTERING");
	if (probe->vlan < 0 && probe->bridge == 0)
		mend_module(
			machine,
			add(findings, "8021q", "nodes have no sub-interfaces", "sub-interfaces"),
			"8021q", "VLAN_8021Q");
	if (probe->netem < 0)
		mend_module(machine,
			    add(findings, "netem", "the kernel cannot delay or lose packets", NULL),
			    "sch_netem", "NET_SCH_NETEM");
	if (probe->ipv6 < 0)
		mend_module(machine, add(findings, "ipv6", "no address is IPv6", "IPv6 addresses"),
			    "ipv6", "IPV6");
}

static void find_kvm(const struct machine *machine, struct findings *findings)
{
	struct finding *finding = add(findings, "/dev/kvm",
				      "guests run under emulation, about 10 times slower", NULL);
	const struct group *group;
	struct stat st;

	if (stat("/dev/kvm", &st) < 0) {
		strbuf_puts(&finding->mend, "switch virtualisation on in the firmware, or nested "
					    "where this is a guest itself");
	} else if (access("/dev/kvm", R_OK | W_OK) == 0) {
		finding->means = "it interprets guests, as inside some virtual machines; emulation "
				 "is faster";
		strbuf_puts(&finding->mend, "nested virtualisation, given by the host of this one");
	} else {
		group = (st.st_mode & 060) == 060 && st.st_gid ? getgrgid(st.st_gid) : NULL;
		if (group)
			strbuf_printf(&finding->mend, "sudo usermod -aG %s %s, then log in again",
				      group->gr_name, machine->user);
		else
			strbuf_puts(&finding->mend, "sudo chmod 666 /dev/kvm");
	}
}

static void find_steering(const struct machine *machine, struct findings *findings)
{
	static const char *const packages[] = { "libbpf-dev", "libbpf-devel", "libbpf",
						"libbpf-dev" };
	const struct tun_tried *tun = &machine->probe.tun;

	if (tun->steering < 0)
		strbuf_puts(&add(findings, "eBPF", "the kernel alone chooses a frame's queue",
				 "steering")
				     ->mend,
			    tun->steering == -EPERM ? "more rights: CAP_BPF"
						    : "a kernel with CONFIG_BPF_SYSCALL");
	if (!tun->objects)
		mend_package(add(findings, "libbpf",
				 "tapnet-lab is built without it, and loads no programs of yours",
				 "steering by object files"),
			     packages);
}

static void find_guests(const struct machine *machine, struct findings *findings)
{
	static const char *const packages[] = { "qemu-system-x86", "qemu-system-x86-core",
						"qemu-system-x86", "qemu-system-x86_64" };
	const struct probe *probe = &machine->probe;
	struct finding *finding;

	if (probe->tun_open < 0) {
		finding = add(findings, "/dev/net/tun", "guests have no links", "guests");
		if (probe->tun_open == -EACCES)
			strbuf_puts(&finding->mend, "sudo chmod 666 /dev/net/tun");
		else if (access("/sys/class/misc/tun", F_OK) == 0)
			strbuf_puts(&finding->mend, "sudo mkdir -p /dev/net; sudo mknod -m 666 "
						    "/dev/net/tun c 10 200");
		else
			mend_module(machine, finding, "tun", "TUN");
	} else if (probe->tap < 0 && probe->netns == 0) {
		finding = add(findings, "TAPs", strerror(-probe->tap), "guests");
		strbuf_puts(&finding->mend, "a kernel from 3.8 on, with its tun driver");
	}
	if (probe->netns == 0 && probe->tun_open == 0 && probe->tap == 0)
		find_steering(machine, findings);
	if (!machine->kvm)
		find_kvm(machine, findings);
	if (probe->vhost_net < 0)
		mend_module(machine,
			    add(findings, "/dev/vhost-net", "packets of guests pass the emulator",
				NULL),
			    "vhost_net", "VHOST_NET");
	if (!machine->qemu)
		mend_package(
			add(findings, "qemu-system-x86_64", "it is not installed", "kind: qemu"),
			packages);
}

static void find_rest(const struct machine *machine, struct findings *findings)
{
	struct finding *finding;

	if (geteuid() != 0 && machine->files.rlim_max < FILES_FEW) {
		finding = add(findings, "open files", "large labs need more, four a TAP", NULL);
		strbuf_printf(&finding->mend, "ulimit -Hn %d, as root", FILES_FEW);
	}
	if (machine->bridge_nf) {
		finding = add(findings, "bridge-nf is on",
			      "the host's firewall sees what passes the host's own bridges", NULL);
		strbuf_puts(&finding->mend, "sudo sysctl net.bridge.bridge-nf-call-iptables=0");
	}
}

/* ---- the machine */

static bool in_path(const char *name)
{
	const char *path = getenv("PATH");

	for (; path && *path; path += *path == ':') {
		size_t len = strcspn(path, ":");
		char file[512];

		(void)snprintf(file, sizeof file, "%.*s/%s", (int)(len < 400 ? len : 400), path,
			       name);
		if (access(file, X_OK) == 0)
			return true;
		path += len;
	}
	return false;
}

static void try_run_dir(struct machine *machine)
{
	struct labdir dir autolabdir = LABDIR_NONE;
	struct err err;

	if (labdir_open(".doctor", true, &dir, &err) < 0 || labdir_remove(&dir, false, &err) < 0)
		(void)snprintf(machine->run_words, sizeof machine->run_words, "%.500s", err.msg);
}

static int examine(struct machine *machine, struct err *err)
{
	const struct passwd *user = getpwuid(geteuid());
	struct strbuf nf autostr = STRBUF_INIT;
	char path[256];

	*machine = (struct machine){ .modules = STRBUF_INIT, .user = user ? user->pw_name : "you" };
	(void)uname(&machine->uname);
	(void)getrlimit(RLIMIT_NOFILE, &machine->files);
	(void)snprintf(path, sizeof path, "/lib/modules/%s/modules.dep", machine->uname.release);
	(void)io_read_file(AT_FDCWD, path, MODULES_MAX, &machine->modules); /* none: built in */
	(void)io_read_file(AT_FDCWD, "/proc/sys/net/bridge/bridge-nf-call-iptables", 16, &nf);
	machine->bridge_nf = nf.text[0] == '1';
	machine->kvm = kvm_runs();
	machine->qemu = in_path("qemu-system-x86_64");
	try_run_dir(machine);
	return probe_kernel(&machine->probe, err);
}

/* ---- what is said */

static const char *yes(int code)
{
	return code < 0 ? "no" : "yes";
}

static void say_machine(const struct machine *machine)
{
	const struct probe *probe = &machine->probe;
	struct sysinfo memory;

	(void)sysinfo(&memory);
	(void)printf("this machine   %s %s, %ld cores, %.1f GiB, %llu open files\n",
		     machine->uname.sysname, machine->uname.release, sysconf(_SC_NPROCESSORS_ONLN),
		     (double)memory.totalram * memory.mem_unit / (1 << 30),
		     (unsigned long long)machine->files.rlim_max);
	(void)printf("               user namespaces %s; /dev/net/tun %s; /dev/kvm %s; "
		     "/dev/vhost-net %s\n",
		     yes(probe->userns), yes(probe->tun_open), machine->kvm ? "yes" : "no",
		     yes(probe->vhost_net));
	if (probe->netns == 0)
		(void)printf("               veth %s; bridge %s; vlan filtering %s; 8021q %s; "
			     "netem %s; ipv6 %s\n",
			     yes(probe->veth), yes(probe->bridge), yes(probe->vlan_filtering),
			     yes(probe->vlan), yes(probe->netem), yes(probe->ipv6));
}

/* What a TAP can be told. */
static void say_taps(const struct probe *probe)
{
	struct strbuf offloads autostr = STRBUF_INIT;

	if (probe->netns < 0 || probe->tun_open < 0 || probe->tap < 0)
		return;
	tun_offload_words(&offloads, probe->tun.offload);
	(void)printf(
		"TAPs           offload %s; endian little%s; steering %s; by object files %s\n",
		offloads.text, probe->tun.big_endian == 0 ? " big" : "", yes(probe->tun.steering),
		probe->tun.objects ? "yes" : "no");
}

/* Whose programs are installed. */
static void say_presets(void)
{
	struct arena arena = ARENA_NONE;
	const char *name, *program;
	struct err err;

	if (arena_init(&arena, 0, &err) < 0)
		return;
	for (int i = 0; kind_preset(&arena, i, &name, &program); i++)
		(void)printf("%s%s %s", i ? "; " : "presets        ", name,
			     in_path(program) ? "yes" : "no");
	(void)printf("\n");
	arena_free(&arena);
}

/* Returns whether labs run at all. */
static bool say_labs(const struct machine *machine, const struct findings *findings)
{
	const char *before = "everything but: ";
	bool never = false;
	char as[48];

	for (int i = 0; i < findings->n; i++)
		never = never || findings->v[i].never;
	(void)snprintf(as, sizeof as, "labs as %s", machine->user);
	(void)printf("%-14s ", as);
	for (int i = 0; i < findings->n && !never; i++)
		if (findings->v[i].without) {
			(void)printf("%s%s", before, findings->v[i].without);
			before = ", ";
		}
	(void)printf("%s\n", never ? "none" : str_eq(before, ", ") ? "" : "everything");
	return !never;
}

static void say_findings(const struct findings *findings)
{
	int thing = 0, means = 0;

	for (int i = 0; i < findings->n; i++) {
		int a = (int)strlen(findings->v[i].thing), b = (int)strlen(findings->v[i].means);

		thing = a > thing ? a : thing;
		means = b > means ? b : means;
	}
	for (int i = 0; i < findings->n; i++) {
		struct strbuf line autostr = STRBUF_INIT;

		strbuf_printf(&line, "%-*s   %-*s   %s", thing, findings->v[i].thing, means,
			      findings->v[i].means, findings->v[i].mend.text);
		while (line.len && line.text[line.len - 1] == ' ')
			line.text[--line.len] = '\0';
		(void)printf("%-14s %s\n", i ? "" : "missing", line.text);
	}
}

int verb_doctor(const struct verb *verb, int argc, char **argv)
{
	struct args args = ARGS(verb, argc, argv);
	struct findings findings = { .n = 0 };
	struct machine machine;
	struct err err;
	bool some;
	int r;

	(void)args_next(&args);
	if (args_status(&args) >= 0)
		return args_status(&args);
	r = examine(&machine, &err);
	if (r == 0) {
		find_namespaces(&machine, &findings);
		find_links(&machine, &findings);
		find_guests(&machine, &findings);
		find_rest(&machine, &findings);
		say_machine(&machine);
		say_taps(&machine.probe);
		say_presets();
		some = say_labs(&machine, &findings);
		say_findings(&findings);
		r = some ? EXIT_FINE : EXIT_UNABLE;
	} else {
		cli_error(&err);
		r = EXIT_UNABLE;
	}
	for (int i = 0; i < findings.n; i++)
		strbuf_free(&findings.v[i].mend);
	strbuf_free(&machine.modules);
	return r;
}
