/* kvm.c - see kvm.h.
 *
 * The guest counts down in protected mode, then halts: some microseconds for a processor, a hundred
 * milliseconds for an interpreter. It is stopped after a few ms of our processor time, so that a busy
 * machine makes no difference.
 */
#include "sys/kvm.h"

#ifdef __x86_64__
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>

#include "base/fd.h"

#define GUEST_AT    0x1000u
#define GUEST_SIZE  4096u
#define GUEST_TURNS 50000u
#define LIMIT_US    10000
#define TSS_AT	    0xfffbd000ul /* three pages for KVM's own use, where nothing else is */

static const uint8_t guest_code[] = { 0x49, 0x75, 0xfd, 0xf4 }; /* dec ecx; jnz -3; hlt */

static void on_limit(int sig)
{
	(void)sig; /* being here is enough: KVM_RUN returns */
}

/* 0, or -1 when the limit came first. */
static int run_limited(int vcpu)
{
	struct sigaction action = { .sa_handler = on_limit }, old;
	struct itimerval limit = { .it_value = { .tv_usec = LIMIT_US } }, none = { 0 };
	int r;

	(void)sigaction(SIGPROF, &action, &old);
	(void)setitimer(ITIMER_PROF, &limit, NULL);
	r = ioctl(vcpu, KVM_RUN, 0);
	(void)setitimer(ITIMER_PROF, &none, NULL);
	(void)sigaction(SIGPROF, &old, NULL);
	return r;
}

static int set_registers(int vcpu)
{
	struct kvm_segment data = { .limit = UINT32_MAX,
				    .selector = 16,
				    .type = 3,
				    .present = 1,
				    .s = 1,
				    .db = 1,
				    .g = 1 };
	struct kvm_segment code = data;
	struct kvm_regs regs = { .rip = GUEST_AT, .rflags = 2, .rcx = GUEST_TURNS };
	struct kvm_sregs sregs;

	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -1;
	code.selector = 8;
	code.type = 11;
	sregs.cs = code;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = data;
	sregs.cr0 |= 1; /* protected mode */
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 ? -1 : ioctl(vcpu, KVM_SET_REGS, &regs);
}

static bool vcpu_halts(int vm, size_t run_size)
{
	autofd int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	const struct kvm_run *run;
	bool halted;

	if (vcpu < 0 || set_registers(vcpu) < 0)
		return false;
	run = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	if (run == MAP_FAILED)
		return false;
	halted = run_limited(vcpu) == 0 && run->exit_reason == KVM_EXIT_HLT;
	(void)munmap((void *)(uintptr_t)run, run_size);
	return halted;
}

bool kvm_runs(void)
{
	autofd int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vm = -1;
	struct kvm_userspace_memory_region region = { .guest_phys_addr = GUEST_AT,
						      .memory_size = GUEST_SIZE };
	void *memory;
	int run_size;
	bool runs;

	if (kvm < 0)
		return false;
	vm = ioctl(kvm, KVM_CREATE_VM, 0);
	run_size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (vm < 0 || run_size < (int)sizeof(struct kvm_run))
		return false;
	memory = mmap(NULL, GUEST_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return false;
	memcpy(memory, guest_code, sizeof guest_code);
	region.userspace_addr = (uintptr_t)memory;
	(void)ioctl(vm, KVM_SET_TSS_ADDR, TSS_AT); /* old processors need it */
	runs = ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0 &&
	       vcpu_halts(vm, (size_t)run_size);
	(void)munmap(memory, GUEST_SIZE);
	return runs;
}

#else

bool kvm_runs(void)
{
	return false; /* guests are x86 machines */
}

#endif
