/* stack.h - the TCP/IP stack, lwIP as the distribution packages it, and this guest's way to use it.
 *
 * Theory of operation: the packaged library keeps a thread of its own, for its timers. All of the
 * stack is guarded by one lock, which that thread takes for each timer and which the event loop
 * takes around everything it does. So callbacks of the stack (a frame to send, a connection's
 * data) run in either thread, one at a time, and nothing else in this program is shared.
 */
#ifndef TAPNET_GUEST_STACK_H
#define TAPNET_GUEST_STACK_H

#include <lwip/ip_addr.h>

#include "base/ip.h"

/* Starts the stack; its thread inherits the caller's signal mask. Once a process. */
void stack_init(void);

void stack_lock(void);
void stack_unlock(void);

ip_addr_t stack_addr(const struct ip *ip);
struct ip stack_ip(const ip_addr_t *addr); /* the prefix is the whole length */

#endif
