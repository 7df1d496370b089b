/* steer.c - programs that choose a frame's queue.
 *
 * The kernel runs them on a frame that begins with its Ethernet header, and takes what they return
 * modulo the attached queues. A load from beyond the frame's end ends a program, with 0.
 */
#include "sys/steer.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/str.h"

#define STEER_UNABLE "cannot load a steering program into the kernel"

static int steer_failed(int code, struct err *err)
{
	if (code == -EPERM)
		err_set(err, code, STEER_UNABLE ": that needs CAP_BPF");
	else if (code == -ENOSYS)
		err_set(err, code, "this kernel has no eBPF (CONFIG_BPF_SYSCALL)");
	else
		err_sys(err, code, STEER_UNABLE);
	err->status = EXIT_UNABLE;
	return code;
}

/* ---- built-in programs */

static int steer_load(const struct bpf_insn *insns, size_t n, struct err *err)
{
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof attr);
	attr.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	attr.insns = (uint64_t)(uintptr_t)insns;
	attr.insn_cnt = (uint32_t)n;
	attr.license = (uint64_t)(uintptr_t) "MIT";
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof attr); /* it is O_CLOEXEC */
	return fd < 0 ? steer_failed(-errno, err) : fd;
}

#define INSN(c, d, s, o, i)                                                                        \
	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define MOV(d, s)	  INSN(BPF_ALU64 | BPF_MOV | BPF_X, d, s, 0, 0)
#define SET(d, i)	  INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define OP(op, d, s)	  INSN(BPF_ALU | (op) | BPF_X, d, s, 0, 0) /* of 32 bits */
#define OPK(op, d, i)	  INSN(BPF_ALU | (op) | BPF_K, d, 0, 0, i)
#define JMP(op, d, i, to) INSN(BPF_JMP | (op) | BPF_K, d, 0, to, i)
#define LD(size, at)	  INSN(BPF_LD | BPF_ABS | (size), 0, 0, 0, at) /* into register 0 */
#define LDX(size, r, at)  INSN(BPF_LD | BPF_IND | (size), 0, r, 0, at)
#define EXIT		  INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

int steer_queue(unsigned queue, struct err *err)
{
	const struct bpf_insn insns[] = { SET(BPF_REG_0, (int)queue), EXIT };

	return steer_load(insns, COUNT(insns), err);
}

/* Offsets in a frame. */
#define ETH_TYPE   12
#define IP4(field) (ETH_HLEN + (field))
#define IP6_SRC	   (ETH_HLEN + 8)

#define KEY	     BPF_REG_7 /* sum of what a flow's frames have in common, the same both ways */
#define PROTO	     BPF_REG_8
#define PORTS	     BPF_REG_9 /* where they are */
#define ADD_WORD(at) LD(BPF_W, at), OP(BPF_ADD, KEY, BPF_REG_0)

int steer_hash(struct err *err)
{
	const struct bpf_insn insns[] = {
		/*  0 */ MOV(BPF_REG_6, BPF_REG_1), /* where loads expect the frame */
		/*  1 */ SET(KEY, 0),
		/*  2 */ LD(BPF_H, ETH_TYPE),
		/*  3 */ JMP(BPF_JEQ, BPF_REG_0, ETH_P_IP, 3),
		/*  4 */ JMP(BPF_JEQ, BPF_REG_0, ETH_P_IPV6, 16),
		/*  5 */ SET(BPF_REG_0, 0),
		/*  6 */ EXIT,
		/* IPv4; a fragment is known by its addresses, since only the first has ports */
		/*  7 */ ADD_WORD(IP4(12)),
		/*  9 */ ADD_WORD(IP4(16)),
		/* 11 */ LD(BPF_H, IP4(6)),
		/* 12 */ JMP(BPF_JSET, BPF_REG_0, 0x3fff, 37),
		/* 13 */ LD(BPF_B, IP4(9)),
		/* 14 */ MOV(PROTO, BPF_REG_0),
		/* 15 */ LD(BPF_B, IP4(0)),
		/* 16 */ OPK(BPF_AND, BPF_REG_0, 15),
		/* 17 */ OPK(BPF_LSH, BPF_REG_0, 2),
		/* 18 */ OPK(BPF_ADD, BPF_REG_0, ETH_HLEN),
		/* 19 */ MOV(PORTS, BPF_REG_0),
		/* 20 */ JMP(BPF_JA, 0, 0, 19),
		/* IPv6 */
		/* 21 */ LD(BPF_B, ETH_HLEN + 6),
		/* 22 */ MOV(PROTO, BPF_REG_0),
		/* 23 */ SET(PORTS, ETH_HLEN + 40),
		/* 24 */ ADD_WORD(IP6_SRC),
		/* 26 */ ADD_WORD(IP6_SRC + 4),
		/* 28 */ ADD_WORD(IP6_SRC + 8),
		/* 30 */ ADD_WORD(IP6_SRC + 12),
		/* 32 */ ADD_WORD(IP6_SRC + 16),
		/* 34 */ ADD_WORD(IP6_SRC + 20),
		/* 36 */ ADD_WORD(IP6_SRC + 24),
		/* 38 */ ADD_WORD(IP6_SRC + 28),
		/* ports */
		/* 40 */ JMP(BPF_JEQ, PROTO, IPPROTO_TCP, 2),
		/* 41 */ JMP(BPF_JEQ, PROTO, IPPROTO_UDP, 1),
		/* 42 */ JMP(BPF_JNE, PROTO, IPPROTO_SCTP, 7),
		/* 43 */ OPK(BPF_MUL, KEY, 31),
		/* 44 */ LDX(BPF_H, PORTS, 0),
		/* 45 */ OP(BPF_ADD, KEY, BPF_REG_0),
		/* 46 */ OPK(BPF_ADD, PORTS, 2),
		/* 47 */ LDX(BPF_H, PORTS, 0),
		/* 48 */ OP(BPF_ADD, KEY, BPF_REG_0),
		/* 49 */ OP(BPF_ADD, KEY, PROTO),
		/* fold: the high bits of a product depend on all bits below */
		/* 50 */ OPK(BPF_MUL, KEY, (int)0x9e3779b1),
		/* 51 */ MOV(BPF_REG_0, KEY),
		/* 52 */ OPK(BPF_RSH, BPF_REG_0, 16),
		/* 53 */ EXIT,
	};

	return steer_load(insns, COUNT(insns), err);
}

/* ---- object files */

#ifdef TAPNET_LIBBPF

#include <bpf/libbpf.h>

/* libbpf tells why something failed only to a callback that has no argument. Its first warning is
 * the cause, but of the kernel's log, which is a warning of many lines, the last one is. */
static struct strbuf object_words = { .text = strbuf_empty };

#define KERNELS_LOG "-- BEGIN PROG LOAD LOG --\n"

static void object_log(const char *log)
{
	const char *end = strstr(log, "\nprocessed "), *line = end;

	while (line && line > log && line[-1] != '\n')
		line--;
	if (line) {
		strbuf_puts(&object_words, ": ");
		strbuf_safe(&object_words, line, (size_t)(end - line));
	}
}

static PRINTF_LIKE(2, 0) int object_print(enum libbpf_print_level level, const char *fmt,
					  va_list args)
{
	static const char prefix[] = "libbpf: ";
	char *text = NULL;
	const char *log;

	if (level != LIBBPF_WARN || vasprintf(&text, fmt, args) < 0)
		return 0;
	log = strstr(text, KERNELS_LOG);
	if (log) {
		object_log(log + strlen(KERNELS_LOG));
	} else if (!object_words.len) {
		const char *words = text + (str_starts(text, prefix) ? strlen(prefix) : 0);

		strbuf_safe(&object_words, words, strcspn(words, "\n"));
	}
	free(text);
	return 0;
}

static int object_failed(const char *path, int code, struct err *err)
{
	if (code < -4000) /* libbpf's own numbers: of the file's format */
		code = -ENOEXEC;
	if (!object_words.len)
		return err_sys(err, code, "%s", path);
	return err_set(err, code, "%s: %s", path, object_words.text);
}

static struct bpf_program *object_choose(struct bpf_object *object)
{
	struct bpf_program *program, *first = NULL;

	bpf_object__for_each_program(program, object)
	{
		const char *section = bpf_program__section_name(program);

		if (str_eq(section, "socket") || str_starts(section, "socket/"))
			return program;
		if (!first)
			first = program;
	}
	return first;
}

static int object_load(struct bpf_object *object, const char *path, struct err *err)
{
	struct bpf_program *program, *chosen = object_choose(object);
	int fd, r;

	if (!chosen)
		return err_set(err, -ENOEXEC, "%s: there is no program in it", path);
	bpf_object__for_each_program(program, object)(void)
		bpf_program__set_autoload(program, program == chosen);
	(void)bpf_program__set_type(chosen, BPF_PROG_TYPE_SOCKET_FILTER);
	r = bpf_object__load(object);
	if (r == -EPERM)
		return steer_failed(r, err);
	if (r < 0)
		return object_failed(path, r, err);
	fd = fcntl(bpf_program__fd(chosen), F_DUPFD_CLOEXEC, 0);
	return fd < 0 ? err_sys(err, -errno, "%s", path) : fd;
}

int steer_object(const char *path, struct err *err)
{
	autofd int file = open(path, O_RDONLY | O_CLOEXEC);
	struct bpf_object *object;
	int r;

	if (file < 0) /* libbpf says it in more words */
		return err_sys(err, -errno, "%s", path);
	(void)libbpf_set_print(object_print);
	object = bpf_object__open_file(path, NULL);
	r = object ? object_load(object, path, err) : object_failed(path, -errno, err);
	bpf_object__close(object);
	strbuf_free(&object_words);
	return r;
}

bool steer_has_objects(void)
{
	return true;
}

#else

bool steer_has_objects(void)
{
	return false;
}

int steer_object(const char *path, struct err *err)
{
	err_set(err, -ENOSYS, "%s: this tapnet-lab is built without libbpf, which loads programs",
		path);
	err->status = EXIT_UNABLE;
	return err->code;
}

#endif
