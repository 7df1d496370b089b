/* wait.c - who waits for whom; see load.h.
 *
 * Each node is two points, its start and its being ready, and each service is one. A node is ready
 * after its services, a service starts after its node, and wait-for and ready: from add what the
 * file says. Points that wait for nothing are taken away, then those that waited only for them; of
 * what remains each waits for another that remains, so that going on from one to the next ends in
 * a circle. Once told, the circle is cut, and the taking away goes on.
 */
#include <string.h>

#include "model/load.h"

struct point {
	const char *label; /* for the error */
	int out, in;	   /* first edge to what it waits for, and from what waits for it; or -1 */
	int waits;	   /* edges out that are left */
	int visit;	   /* the walk that was here last */
};

struct edge {
	int from, to, next_out, next_in;
	struct pos pos; /* of the wait-for; line 0: it follows from what nodes and services are */
	bool cut;
};

struct graph {
	struct loader *loader;
	struct point *v;
	struct edge *edges;
	int *idle; /* points that wait for nothing, to be taken away */
	int n, cap, n_edges, cap_edges, n_idle;
};

static int graph_add(struct graph *graph, const char *label)
{
	struct point *point = ARENA_PUSH(graph->loader->arena, graph->v, graph->n, graph->cap);

	*point = (struct point){ .label = label, .out = -1, .in = -1 };
	return graph->n - 1;
}

static void graph_edge(struct graph *graph, int from, int to, struct pos pos)
{
	struct edge *edge =
		ARENA_PUSH(graph->loader->arena, graph->edges, graph->n_edges, graph->cap_edges);

	*edge = (struct edge){ from, to, graph->v[from].out, graph->v[to].in, pos, false };
	graph->v[from].out = graph->v[to].in = graph->n_edges - 1;
	graph->v[from].waits++;
}

/* The points of the n-th node. */
static int node_start(const struct node *node)
{
	return node->order * 2;
}

static int node_ready(const struct node *node)
{
	return node->order * 2 + 1;
}

static void wait_node(struct graph *graph, struct node *node)
{
	struct loader *loader = graph->loader;
	int n = 0;

	node->wait_nodes =
		arena_calloc(loader->arena, (size_t)node->n_wait_for, sizeof(struct node *));
	for (int i = 0; i < node->n_wait_for; i++) {
		struct node *other = refs_node(loader, &node->wait_for[i]);

		if (!other)
			continue;
		node->wait_nodes[n] = other;
		node->wait_for[n++] = node->wait_for[i];
		graph_edge(graph, node_start(node), node_ready(other), node->wait_for[i].pos);
	}
	node->n_wait_for = n;
	graph_edge(graph, node_ready(node), node_start(node), (struct pos){ 0 });
	if (node->ready.from_node)
		graph_edge(graph, node_ready(node), node_start(node->ready.from_node),
			   node->ready.from.pos);
}

static int wait_find_service(const struct node *node, const char *name)
{
	for (int i = 0; i < node->n_services; i++)
		if (str_eq(node->services[i].name, name))
			return i;
	return -1;
}

static void wait_unknown(struct loader *loader, const struct node *node, const struct text *name)
{
	struct names services = { 0 };

	for (int i = 0; i < node->n_services; i++)
		(void)names_put(loader->arena, &services, node->services[i].name);
	(void)load_error(loader, name->pos, "no service of %s and no node \"%s\"%s", node->name,
			 load_shown(loader, name->s),
			 load_nearest_of(loader, name->s, &services, loader->lab->node_index));
}

/* The node's services are the points from `first` on. */
static void wait_service(struct graph *graph, const struct node *node, int first, int i)
{
	const struct service *service = &node->services[i];

	graph_edge(graph, first + i, node_start(node), (struct pos){ 0 });
	graph_edge(graph, node_ready(node), first + i, (struct pos){ 0 });
	if (service->ready.from_node)
		graph_edge(graph, first + i, node_start(service->ready.from_node),
			   service->ready.from.pos);
	for (int k = 0; k < service->n_wait_for; k++) {
		const struct text *name = &service->wait_for[k];
		const struct node *other = lab_node(graph->loader->lab, name->s);
		int at = wait_find_service(node, name->s);

		if (at >= 0)
			graph_edge(graph, first + i, first + at, name->pos);
		else if (other)
			graph_edge(graph, first + i, node_ready(other), name->pos);
		else
			wait_unknown(graph->loader, node, name);
	}
}

static void wait_services(struct graph *graph, const struct node *node)
{
	int first = graph->n;

	for (int i = 0; i < node->n_services; i++)
		(void)graph_add(graph, arena_printf(graph->loader->arena, "%s of %s",
						    node->services[i].name, node->name));
	for (int i = 0; i < node->n_services; i++)
		wait_service(graph, node, first, i);
}

/* One edge out less: perhaps it waits for nothing any more. */
static void graph_unwait(struct graph *graph, int at)
{
	if (--graph->v[at].waits == 0)
		graph->idle[graph->n_idle++] = at;
}

static void graph_reduce(struct graph *graph)
{
	while (graph->n_idle) {
		int at = graph->idle[--graph->n_idle];

		for (int e = graph->v[at].in; e >= 0; e = graph->edges[e].next_in)
			if (!graph->edges[e].cut)
				graph_unwait(graph, graph->edges[e].from);
	}
}

/* An edge to another point that remains. */
static struct edge *graph_on(struct graph *graph, int at)
{
	int e = graph->v[at].out;

	while (graph->edges[e].cut || !graph->v[graph->edges[e].to].waits)
		e = graph->edges[e].next_out;
	return &graph->edges[e];
}

/* Tells the circle that begins and ends at a point, and cuts it. */
static void wait_tell(struct graph *graph, int begin)
{
	struct loader *loader = graph->loader;
	autostr struct strbuf circle = STRBUF_INIT;
	const char *last = graph->v[begin].label, *words;
	struct edge *said = graph_on(graph, begin); /* the first that the file says itself */
	int at = begin;

	strbuf_puts(&circle, last);
	do {
		struct edge *edge = graph_on(graph, at);

		if (!said->pos.line)
			said = edge;
		at = edge->to;
		if (!str_eq(graph->v[at].label, last) && circle.len < 200)
			strbuf_printf(&circle, ", which waits for %s", graph->v[at].label);
		last = graph->v[at].label;
	} while (at != begin);
	words = arena_text(loader->arena, &circle);
	if (strstr(words, ", which"))
		(void)load_error(loader, said->pos, "a circle: %s", words);
	else
		(void)load_error(loader, said->pos, "%s waits for itself", words);
	said->cut = true;
	graph_unwait(graph, said->from);
}

static void wait_tell_circles(struct graph *graph)
{
	int walk = 0;

	graph->idle = arena_calloc(graph->loader->arena, (size_t)graph->n, sizeof *graph->idle);
	for (int i = 0; i < graph->n; i++)
		if (!graph->v[i].waits)
			graph->idle[graph->n_idle++] = i;
	graph_reduce(graph);
	for (int i = 0; i < graph->n && !diag_enough(graph->loader->diags);) {
		int at = i;

		if (!graph->v[i].waits) {
			i++;
			continue;
		}
		for (walk++; graph->v[at].visit != walk; at = graph_on(graph, at)->to)
			graph->v[at].visit = walk;
		wait_tell(graph, at);
		graph_reduce(graph);
	}
}

void wait_check(struct loader *loader)
{
	const struct lab *lab = loader->lab;
	struct graph graph = { .loader = loader };

	for (int i = 0; i < lab->n_nodes; i++) {
		(void)graph_add(&graph, lab->nodes[i]->name);
		(void)graph_add(&graph, lab->nodes[i]->name);
	}
	for (int i = 0; i < lab->n_nodes && !diag_enough(loader->diags); i++) {
		loader->diags->instance = lab->nodes[i]->repeated ? lab->nodes[i]->name : NULL;
		wait_node(&graph, lab->nodes[i]);
		wait_services(&graph, lab->nodes[i]);
	}
	loader->diags->instance = NULL;
	wait_tell_circles(&graph);
}
