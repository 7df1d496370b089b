/* service.c - see service.h.
 *
 * Theory of operation: what a connection begins with decides. `GET ` and `HEAD ` are HTTP: its
 * header lines are skipped, then one answer is sent and the connection closed. Anything else is
 * echoed as it is, after the guest's name. A connection holds at most one piece of received data:
 * the stack is told that it was received (which opens the peer's window again) when it has been
 * handled, and keeps the next one until then. So a peer that sends and does not read is slowed
 * down, and costs no memory.
 */
#include "guest/service.h"

#include <errno.h>
#include <inttypes.h>
#include <lwip/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "base/str.h"
#include "guest/stack.h"

enum {
	CONNS_MAX = 256,
	IDLE_MAX = 60,	    /* ticks of IDLE_TICK without progress end a connection: five minutes */
	IDLE_TICK = 10,	    /* of half a second */
	REQUEST_LINE = 256, /* bytes of a request's first line */
	BLOCK = 1400,	    /* bytes of a body at a time */
};

enum conn_state {
	CONN_NEW,
	CONN_ECHO,
	CONN_REQUEST, /* reading an HTTP request */
	CONN_ANSWER,  /* sending the answer, and then closing; input is thrown away */
};

struct conn {
	enum conn_state state;
	const char *name;
	struct pbuf *in; /* received and not yet handled */
	bool in_end;	 /* the peer sends no more */
	char line[REQUEST_LINE];
	unsigned line_len;
	bool line_done,
		line_empty; /* of the request: the first is over; the current one is empty */
	uint64_t body;	    /* bytes of the body still to be sent */
	unsigned idle;
};

static unsigned n_conns;

static void conn_free(struct conn *conn)
{
	if (conn->in)
		pbuf_free(conn->in);
	free(conn);
	n_conns--;
}

/* The connection is gone already. */
static void conn_error(void *arg, err_t err)
{
	(void)err;
	conn_free(arg);
}

/* Ends a connection, after what was written has been sent. ERR_ABRT when it had to be aborted:
 * a callback must then return it. */
static err_t conn_close(struct conn *conn, struct tcp_pcb *pcb)
{
	tcp_arg(pcb, NULL);
	tcp_recv(pcb, NULL);
	tcp_sent(pcb, NULL);
	tcp_poll(pcb, NULL, 0);
	tcp_err(pcb, NULL);
	conn_free(conn);
	if (tcp_close(pcb) == ERR_OK)
		return ERR_OK;
	tcp_abort(pcb);
	return ERR_ABRT;
}

/* Whether a text could be queued; it is not sent in part. */
static bool conn_puts(struct tcp_pcb *pcb, const char *text, size_t len)
{
	return tcp_sndbuf(pcb) >= len &&
	       tcp_write(pcb, text, (u16_t)len, TCP_WRITE_FLAG_COPY) == ERR_OK;
}

/* Counts n bytes of the input as handled. */
static void conn_handled(struct conn *conn, struct tcp_pcb *pcb, size_t n)
{
	conn->in = pbuf_free_header(conn->in, (u16_t)n);
	tcp_recved(pcb, (u16_t)n);
	conn->idle = 0;
}

static void conn_echo(struct conn *conn, struct tcp_pcb *pcb)
{
	while (conn->in) {
		size_t n = conn->in->len, room = tcp_sndbuf(pcb);

		if (n > room)
			n = room;
		if (!n ||
		    tcp_write(pcb, conn->in->payload, (u16_t)n, TCP_WRITE_FLAG_COPY) != ERR_OK)
			break;
		conn_handled(conn, pcb, n);
	}
}

/* `GET /bytes/N`: the number, else false. */
static bool line_bytes(const char *line, uint64_t *ret_n)
{
	const char *digits = line + strlen("GET /bytes/");
	char *end;

	if (!str_starts(line, "GET /bytes/") || *digits < '0' || *digits > '9')
		return false;
	errno = 0;
	*ret_n = strtoull(digits, &end, 10);
	return !errno && (*end == ' ' || *end == '\0');
}

static bool conn_answer(struct conn *conn, struct tcp_pcb *pcb)
{
	bool head = str_starts(conn->line, "HEAD ");
	struct ip ip = stack_ip(&pcb->local_ip);
	char text[IP_TEXT], body[160] = "", answer[400];
	uint64_t n = 0;
	int len;

	if (!line_bytes(conn->line, &n)) {
		n = (uint64_t)snprintf(body, sizeof body, "%s at %s\n", conn->name,
				       ip_text(&ip, text));
	} else if (!head) {
		conn->body = n;
	}
	len = snprintf(answer, sizeof answer,
		       "HTTP/1.0 200 OK\r\nServer: tapnet-guest\r\nContent-Type: text/plain\r\n"
		       "Content-Length: %" PRIu64 "\r\nConnection: close\r\n\r\n%s",
		       n, head ? "" : body);
	return conn_puts(pcb, answer, (size_t)len);
}

/* Takes bytes of a request; true when it is whole. */
static bool request_take(struct conn *conn, const char *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (data[i] == '\n' && conn->line_empty)
			return true;
		if (data[i] == '\n')
			conn->line_done = conn->line_empty = true;
		else if (data[i] != '\r')
			conn->line_empty = false;
		if (!conn->line_done && conn->line_len < sizeof conn->line - 1)
			conn->line[conn->line_len++] = data[i];
	}
	return false;
}

static void conn_request(struct conn *conn, struct tcp_pcb *pcb)
{
	bool whole = false;

	while (conn->in && !whole) {
		whole = request_take(conn, conn->in->payload, conn->in->len);
		conn_handled(conn, pcb, conn->in->len);
	}
	if (!whole)
		return;
	/* A connection that has sent nothing yet has room for it. */
	conn->state = CONN_ANSWER;
	if (!conn_answer(conn, pcb))
		conn->body = 0;
}

static void conn_body(struct conn *conn, struct tcp_pcb *pcb)
{
	static const char block[BLOCK];

	while (conn->in)
		conn_handled(conn, pcb, conn->in->len);
	while (conn->body) {
		size_t n = conn->body < BLOCK ? (size_t)conn->body : BLOCK;

		if (tcp_sndbuf(pcb) < n || tcp_write(pcb, block, (u16_t)n, 0) != ERR_OK)
			break;
		conn->body -= n;
		conn->idle = 0;
	}
}

static enum conn_state conn_first(const struct conn *conn)
{
	if (pbuf_memcmp(conn->in, 0, "GET ", 4) == 0 || pbuf_memcmp(conn->in, 0, "HEAD ", 5) == 0)
		return CONN_REQUEST;
	return CONN_ECHO;
}

/* Does what can be done now; it goes on when data comes or some was sent. */
static err_t conn_run(struct conn *conn, struct tcp_pcb *pcb)
{
	bool over;

	if (conn->state == CONN_NEW && conn->in) {
		conn->state = conn_first(conn);
		if (conn->state == CONN_ECHO) {
			(void)conn_puts(pcb, conn->name, strlen(conn->name));
			(void)conn_puts(pcb, ": ", 2);
		}
	}
	if (conn->state == CONN_ECHO)
		conn_echo(conn, pcb);
	if (conn->state == CONN_REQUEST)
		conn_request(conn, pcb);
	if (conn->state == CONN_ANSWER)
		conn_body(conn, pcb);
	over = conn->state == CONN_ANSWER ? !conn->body : conn->in_end && !conn->in;
	if (over)
		return conn_close(conn, pcb);
	(void)tcp_output(pcb);
	return ERR_OK;
}

static err_t conn_recv(void *arg, struct tcp_pcb *pcb, struct pbuf *p, err_t err)
{
	struct conn *conn = arg;

	(void)err;
	if (conn->in && p)
		return ERR_MEM; /* the stack keeps it and asks again */
	if (p)
		conn->in = p;
	else
		conn->in_end = true;
	return conn_run(conn, pcb);
}

static err_t conn_sent(void *arg, struct tcp_pcb *pcb, u16_t len)
{
	struct conn *conn = arg;

	(void)len;
	conn->idle = 0;
	return conn_run(conn, pcb);
}

static err_t conn_idle(void *arg, struct tcp_pcb *pcb)
{
	struct conn *conn = arg;

	if (++conn->idle < IDLE_MAX)
		return conn_run(conn, pcb);
	tcp_abort(pcb); /* calls conn_error() */
	return ERR_ABRT;
}

static err_t service_accept(void *arg, struct tcp_pcb *pcb, err_t err)
{
	struct conn *conn;

	if (err != ERR_OK || !pcb)
		return ERR_VAL;
	conn = n_conns < CONNS_MAX ? calloc(1, sizeof *conn) : NULL;
	if (!conn) {
		tcp_abort(pcb);
		return ERR_ABRT;
	}
	n_conns++;
	conn->name = arg;
	tcp_arg(pcb, conn);
	tcp_recv(pcb, conn_recv);
	tcp_sent(pcb, conn_sent);
	tcp_err(pcb, conn_error);
	tcp_poll(pcb, conn_idle, IDLE_TICK);
	return ERR_OK;
}

int service_listen(uint16_t port, const char *name, struct err *err)
{
	struct tcp_pcb *pcb = tcp_new_ip_type(IPADDR_TYPE_ANY), *listening;
	union {
		const char *name;
		void *arg;
	} arg = { .name = name }; /* the stack's argument is not const; it is only read */

	if (!pcb || tcp_bind(pcb, IP_ANY_TYPE, port) != ERR_OK)
		return err_set(err, -EADDRINUSE, "port %u: the stack refuses to bind", port);
	listening = tcp_listen(pcb);
	if (!listening)
		return err_sys(err, -ENOMEM, "port %u", port);
	tcp_arg(listening, arg.arg);
	tcp_accept(listening, service_accept);
	return 0;
}
