/* clone.c - the only place that makes processes.
 *
 * Theory of operation. A copy of the caller costs a page fault for each page that it touches, which is
 * most of what a program costs until it is executed. So who is about to execute one runs in the
 * caller's own memory instead, on a stack of its own, while the caller stands still (CLONE_VM and
 * CLONE_VFORK), as with vfork(2). Only clone3(2) does that with a pidfd, no handlers of signals and
 * the pid stored beforehand, and glibc has no function for it: a child may not return from a frame
 * that its parent will need, so the call is made, and the child's function called, right here.
 *
 * Fds, namespaces, signals and rights are the child's own; what it writes to memory its parent sees.
 *
 * A child is born in the pid namespace that its maker chose for it: a cell's, into which the maker sets
 * itself for that moment. Who could not come back, for want of memory, does so before it makes another.
 */
#include <errno.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "sys/child.h"
#include "sys/pidfd.h"

#define STACK ((size_t)64 << 10)

#if defined(__SANITIZE_ADDRESS__) || defined(TAPNET_COVERAGE)
#define CAN_SHARE 0 /* they keep books of whose stack is where, and of who ends */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define CAN_SHARE 0
#endif
#endif
#ifndef CAN_SHARE
#if defined(__x86_64__) || defined(__aarch64__)
#define CAN_SHARE 1
#else
#define CAN_SHARE 0
#endif
#endif

static struct clone_args args_of(uint64_t flags, struct spawn_mark *mark, int32_t *nowhere,
				 int *ret_pidfd)
{
	return (struct clone_args){
		.flags = flags | CLONE_PIDFD | CLONE_PARENT_SETTID | CLONE_CLEAR_SIGHAND,
		.pidfd = (uintptr_t)ret_pidfd,
		.parent_tid = (uintptr_t)(mark ? &mark->born : nowhere),
		.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD, /* the maker's own, then */
	};
}

static bool abroad; /* our next child would be born in a cell */

/* In the pid namespace of a cell's init; -1: in ours. */
static int born_in(int cell)
{
	autofd int self = cell < 0 ? pidfd_of(getpid()) : -1;

	if (cell < 0 && self < 0)
		return self;
	if (setns(cell < 0 ? self : cell, CLONE_NEWPID) < 0)
		return -errno;
	abroad = cell >= 0;
	return 0;
}

bool child_may_return(void)
{
	return born_in(-1) == 0;
}

static bool clone_begin(int cell)
{
	int r = cell >= 0 || abroad ? born_in(cell) : 0;

	errno = -r;
	return r == 0;
}

static pid_t clone_end(long r, int *ret_pidfd)
{
	if (abroad)
		(void)born_in(-1);
	if (r >= 0)
		return (pid_t)r;
	*ret_pidfd = -1; /* a number may have been stored before it failed */
	errno = (int)-r;
	return -1;
}

pid_t child_clone(uint64_t flags, int cell, struct spawn_mark *mark, int *ret_pidfd)
{
	int32_t nowhere;
	struct clone_args args = args_of(flags, mark, &nowhere, ret_pidfd);
	long r;

	if (!clone_begin(cell))
		return -1;
	r = syscall(SYS_clone3, &args, sizeof args);
	if (r == 0) {
		abroad = false;
		return 0;
	}
	return clone_end(r < 0 ? -errno : r, ret_pidfd);
}

#if CAN_SHARE

/* The pid, or -errno. The child calls fn, which does not return. */
static long clone_and_call(const struct clone_args *args, void (*fn)(void *), void *arg)
{
#if defined(__x86_64__)
	register void (*call)(void *) __asm__("r12") = fn;
	register void *with __asm__("r13") = arg;
	long r = SYS_clone3;

	__asm__ volatile("syscall\n\t"
			 "testq %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "movq %[with], %%rdi\n\t"
			 "callq *%[call]\n\t"
			 "ud2\n"
			 "1:"
			 : "+a"(r)
			 : "D"(args), "S"(sizeof *args), [call] "r"(call), [with] "r"(with)
			 : "rcx", "r11", "cc", "memory");
	return r;
#else
	register void (*call)(void *) __asm__("x19") = fn;
	register void *with __asm__("x20") = arg;
	register long x0 __asm__("x0") = (long)args;
	register size_t x1 __asm__("x1") = sizeof *args;
	register long x8 __asm__("x8") = SYS_clone3;

	__asm__ volatile("svc #0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x0, %[with]\n\t"
			 "blr %[call]\n\t"
			 "brk #1\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x1), "r"(x8), [call] "r"(call), [with] "r"(with)
			 : "cc", "memory");
	return x0;
#endif
}

/* One stack for the child, and one for its: until both have executed or ended, we stand still. */
pid_t child_share(uint64_t flags, int cell, struct spawn_mark *mark, int *ret_pidfd,
		  void (*fn)(void *), void *arg)
{
	static alignas(64) char stacks[2][STACK];
	static unsigned depth;
	const unsigned ours = depth;
	int32_t nowhere;
	struct clone_args args = args_of(flags | CLONE_VM | CLONE_VFORK, mark, &nowhere, ret_pidfd);
	long r;

	if (ours >= sizeof stacks / sizeof stacks[0]) {
		errno = EAGAIN;
		return -1;
	}
	if (!clone_begin(cell))
		return -1;
	args.stack = (uintptr_t)stacks[ours];
	args.stack_size = STACK;
	depth = ours + 1;
	r = clone_and_call(&args, fn, arg);
	depth = ours; /* whatever became of the child while it had one */
	return clone_end(r, ret_pidfd);
}

#else

pid_t child_share(uint64_t flags, int cell, struct spawn_mark *mark, int *ret_pidfd,
		  void (*fn)(void *), void *arg)
{
	pid_t pid = child_clone(flags, cell, mark, ret_pidfd);

	if (pid == 0)
		fn(arg);
	return pid;
}

#endif
