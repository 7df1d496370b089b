/* kvm.h - does KVM run guests here? */
#ifndef TAPNET_SYS_KVM_H
#define TAPNET_SYS_KVM_H

#include <stdbool.h>

/* Runs a tiny guest. False also where /dev/kvm makes guests and then interprets them instruction by
 * instruction, as inside some virtual machines: an emulator is a hundred times faster there. */
bool kvm_runs(void);

#endif
