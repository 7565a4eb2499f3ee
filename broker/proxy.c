/*
 * proxy: makes and ends them.
 *
 * A proxy is made by the first frame to its id or from it, and lives until its node says that it is gone, or until nobody
 * here has anything to do with it: no edge, no relation, nothing that it watches. Then it can be made again from its id
 * alone. While the link is down it is lost like a process without a connection. The surprising rule: its end runs through
 * life_end() like everybody's, which calls back proxy_forget() in the middle, so nothing here may be used behind that.
 */
#include "proxy.h"
#include "clock.h"
#include "note.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct proxy *proxy_of(struct sink *sink)
{
	return (struct proxy *)sink;
}

/* It goes, but its node's link stays. */
static void forget_edge(struct sink *sink, struct edge *edge)
{
	const struct link *link = proxy_of(sink)->node->link;

	if (link)
		session_forget(link->session, edge);
}

static uint64_t alias(uint32_t number, uint64_t real)
{
	return (uint64_t)number << 32 | (uint32_t)real;
}

struct proxy *proxy_find(const struct node *node, uint64_t real)
{
	uint32_t number = abroad_known(&node->links->abroad, node->name, (uint32_t)(real >> 32));
	struct process *p = number ? table_get(&node->links->registry->processes, alias(number, real)) : NULL;

	return p ? p->proxy : NULL;
}

static struct proxy *make(struct node *node, uint64_t real, uint64_t id)
{
	struct links *links = node->links;
	struct proxy *proxy = calloc(1, sizeof(*proxy));
	struct process *p = proxy ? registry_add(links->registry, id, UINT32_MAX) : NULL;

	if (!p) {
		free(proxy);
		return NULL;
	}
	p->proxy = proxy;
	p->state = PROCESS_LOST;
	p->transport = TRANSPORT_LINK;
	p->level = 1;
	p->dying = (uint32_t)real == 0; /* its broker keeps nothing that it could send again */
	p->since_ms = clock_ms();
	proxy->process = p;
	proxy->node = node;
	proxy->real = real;
	LIST_INSERT_HEAD(&node->proxies, proxy, of_node);
	node->n_proxies++;
	links->registry->n_foreign++;
	return proxy;
}

int proxies_are_full(const struct node *node)
{
	return node->n_proxies >= PROXIES_MOST;
}

struct proxy *proxy_get(struct node *node, uint64_t real,
			void (*put)(struct sink *, struct edge *, const uint8_t *, size_t))
{
	struct proxy *proxy = proxy_find(node, real);
	uint32_t number;

	if (proxy)
		return proxy;
	if (proxies_are_full(node) && !node->swept)
		proxies_sweep(node);
	number = !proxies_are_full(node) ? abroad_number(&node->links->abroad, node->name, (uint32_t)(real >> 32)) : 0;
	proxy = number ? make(node, real, alias(number, real)) : NULL;
	if (!proxy)
		return NULL;
	proxy->sink.put = put;
	proxy->sink.forget = forget_edge;
	if (node->link)
		proxy_attach(proxy);
	return proxy;
}

void proxy_attach(struct proxy *proxy)
{
	proxy->confirmed = 0;
	proxy->asked_ms = 0;
	proxy->process->thirsty = 0;
	control_forget(proxy->process); /* it asks again what it was not answered */
	router_attach(proxy->node->links->router, proxy->process, &proxy->sink);
}

void proxy_detach(struct proxy *proxy)
{
	router_detach(proxy->node->links->router, proxy->process);
}

void proxy_tell_joined(const struct proxy *proxy, struct process *parent)
{
	Brood__Joined joined = BROOD__JOINED__INIT;
	char id[ID_TEXT], address[NAME_MAX_LENGTH + 1 + ID_TEXT];

	snprintf(address, sizeof(address), "%s/%s", proxy->node->name, id_format(proxy->real, id));
	joined.id = proxy->process->id;
	joined.pid = proxy->process->pid;
	joined.title = proxy->process->title;
	joined.address = address;
	note_put(parent->sink, FRAME_JOINED, &joined.base);
}

void proxy_know(struct proxy *proxy, uint32_t uid, uint32_t pid, const char *title, struct process *parent)
{
	struct process *p = proxy->process;
	int news = !proxy->confirmed || p->parent != parent;

	proxy->confirmed = 1;
	p->uid = uid;
	p->pid = pid;
	registry_entitle(p, title);
	router_know(proxy->node->links->router, p);
	if (!parent)
		return;
	registry_relate(p, parent);
	if (news)
		proxy_tell_joined(proxy, parent);
}

void proxy_end(struct proxy *proxy, Brood__Why why)
{
	life_end(proxy->node->links->life, proxy->process, why, NULL);
}

void proxies_end(struct node *node, Brood__Why why)
{
	while (!LIST_EMPTY(&node->proxies))
		proxy_end(LIST_FIRST(&node->proxies), why);
}

static int is_of_use(const struct proxy *proxy)
{
	const struct process *p = proxy->process;

	return p->parent || !LIST_EMPTY(&p->children) || !LIST_EMPTY(&estate_of(p)->asks) || !router_is_idle(p);
}

void proxies_sweep(struct node *node)
{
	struct proxy *proxy, *next;

	node->swept = 1;
	for (proxy = LIST_FIRST(&node->proxies); proxy; proxy = next) {
		next = LIST_NEXT(proxy, of_node);
		if (!is_of_use(proxy))
			proxy_end(proxy, BROOD__WHY__WHY_UNKNOWN); /* which nobody hears */
	}
}

void proxy_forget(struct process *p)
{
	struct proxy *proxy = p->proxy;

	if (proxy->node->link && proxy->node->link->last == p)
		proxy->node->link->last = NULL;
	LIST_REMOVE(proxy, of_node);
	proxy->node->n_proxies--;
	proxy->node->links->registry->n_foreign--;
	p->proxy = NULL;
	free(proxy);
}
