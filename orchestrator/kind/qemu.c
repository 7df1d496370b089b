/* qemu.c - kind: qemu: the command line from the node's interfaces and a few keys. */
#include "kind/kind.h"

struct qemu_spec {
	unsigned cpus;
	uint64_t memory; /* bytes */
	struct text kernel, initrd, append, disk;
	struct text *extra;
	int n_extra;
};

static const struct field qemu_fields[] = {
	{ .name = "cpus",
	  .type = FIELD_UINT,
	  .offset = offsetof(struct qemu_spec, cpus),
	  .min = 1,
	  .max = 255,
	  .preset = "1",
	  .help = "virtual processors" },
	{ .name = "memory",
	  .type = FIELD_SIZE,
	  .offset = offsetof(struct qemu_spec, memory),
	  .min = 1 << 20,
	  .max = UINT64_C(1) << 40,
	  .preset = "256M",
	  .help = "memory: 512M, 4G" },
	{ .name = "kernel",
	  .type = FIELD_PATH,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct qemu_spec, kernel),
	  .help = "a kernel to boot directly" },
	{ .name = "initrd",
	  .type = FIELD_PATH,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct qemu_spec, initrd),
	  .help = "its initial RAM disk" },
	{ .name = "append",
	  .type = FIELD_TEXT,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct qemu_spec, append),
	  .help = "its command line" },
	{ .name = "disk",
	  .type = FIELD_PATH,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct qemu_spec, disk),
	  .help = "a disk image; what the guest writes is thrown away" },
	{ .name = "extra",
	  .type = FIELD_TEXTS,
	  .flags = FIELD_LATE,
	  .offset = offsetof(struct qemu_spec, extra),
	  .count_offset = offsetof(struct qemu_spec, n_extra),
	  .help = "more arguments, added at the end" },
	{ 0 },
};

struct args {
	struct planner *planner;
	const struct node *node;
	struct program program;
	int cap;
};

static void arg(struct args *args, const char *s)
{
	*ARENA_PUSH(args->planner->arena, args->program.argv, args->program.argc, args->cap) = s;
}

static void arg_text(struct args *args, const char *option, const struct text *text)
{
	if (!text->s)
		return;
	arg(args, option);
	arg(args, late_fill(args->planner, args->node, text));
}

static void arg_nic(struct args *args, int n, const struct dev *dev)
{
	struct arena *arena = args->planner->arena;
	struct strbuf fds __attribute__((cleanup(strbuf_free))) = STRBUF_INIT;
	char mac[MAC_TEXT];
	bool many = dev->queues > 1;

	for (unsigned q = 0; q < dev->queues; q++)
		strbuf_printf(&fds, "%s%d", q ? ":" : "", dev->guest_fd + (int)q);
	arg(args, "-netdev");
	arg(args,
	    arena_printf(arena, "tap,id=n%d,%s=%s,vhost=off", n, many ? "fds" : "fd", fds.text));
	arg(args, "-device");
	/* A speed, since the guest's LACP finds no partner on a link without one. */
	arg(args, arena_printf(arena, "virtio-net-pci,netdev=n%d,mac=%s,speed=10000,duplex=full%s",
			       n, mac_text(&dev->mac, mac),
			       many ? arena_printf(arena, ",mq=on,vectors=%u", 2 * dev->queues + 2)
				    : ""));
}

/* A comma in an option's value is doubled. */
static const char *comma(struct arena *arena, const char *s)
{
	struct strbuf out __attribute__((cleanup(strbuf_free))) = STRBUF_INIT;

	for (; *s; s++)
		strbuf_add(&out, *s == ',' ? ",," : s, *s == ',' ? 2 : 1);
	return arena_strdup(arena, out.text);
}

static struct program qemu_command(struct planner *planner, struct planned_node *planned)
{
	const struct qemu_spec *spec = planned->node->spec;
	struct args args = { .planner = planner, .node = planned->node };
	struct arena *arena = planner->arena;

	arg(&args, "qemu-system-x86_64");
	arg(&args, "-name");
	arg(&args, planned->node->name);
	arg(&args, "-nodefaults");
	arg(&args, "-no-user-config");
	arg(&args, "-no-reboot");
	arg(&args, "-display");
	arg(&args, "none");
	arg(&args, "-serial");
	arg(&args, "stdio");
	arg(&args, "-accel");
	arg(&args, planner->assume.kvm ? "kvm" : "tcg,thread=multi");
	arg(&args, "-cpu");
	arg(&args, planner->assume.kvm ? "host" : "max");
	arg(&args, "-smp");
	arg(&args, arena_printf(arena, "%u", spec->cpus));
	arg(&args, "-m");
	arg(&args, arena_printf(arena, "%lluM", (unsigned long long)(spec->memory >> 20)));
	arg_text(&args, "-kernel", &spec->kernel);
	arg_text(&args, "-initrd", &spec->initrd);
	arg_text(&args, "-append", &spec->append);
	if (spec->disk.s) {
		arg(&args, "-drive");
		arg(&args,
		    arena_printf(arena, "if=virtio,snapshot=on,file=%s",
				 comma(arena, late_fill(planner, planned->node, &spec->disk))));
	}
	for (int i = 0; i < planned->n_devs; i++)
		arg_nic(&args, i, planned->devs[i]);
	for (int i = 0; i < spec->n_extra; i++)
		arg(&args, late_fill(planner, planned->node, &spec->extra[i]));
	return args.program;
}

extern const struct kind kind_qemu;
const struct kind kind_qemu = {
	.node = { .name = "qemu",
		  .help = "a QEMU guest",
		  .fields = qemu_fields,
		  .spec_size = sizeof(struct qemu_spec),
		  .guest = true },
	.vnet_hdr = true,
	.vhost = true,
	.command = qemu_command,
};
