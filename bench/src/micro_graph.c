/*
 * micro_graph: data structures made of many small blocks, built while other blocks come and go, and
 * then walked.  The time of the walk is the allocator's work as much as malloc's: it decides which
 * cache lines and pages neighbours in the structure lie in.  One operation is one node visited.
 * Extra figures: build_ns and walk_ns for a node.
 */
#include "micro.h"

/* Blocks that programs make beside the structure they build: scratch of other sizes and lives. */
struct scratch {
    void *slot[64];
    uint32_t seed;
};

static void scratch_step(struct scratch *s)
{
    uint32_t r = bench_next(&s->seed);
    if (r & 1)
        replace(&s->slot[(r >> 1) % 64], small_size(bench_next(&s->seed)));
}

static void scratch_drop(struct scratch *s)
{
    for (int i = 0; i < 64; i++)
        free(s->slot[i]);
}

/* The CPU time of this thread: building and walking wait for nobody. */
static double cpu_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- a binary search tree with random keys ---- */

struct node {
    struct node *left, *right;
    uint32_t key, value;
    char *name; /* a string of its own, as symbol tables have it */
};

static struct node *new_node(uint32_t key)
{
    struct node *n = bench_some(malloc(sizeof *n));
    size_t length = 8 + key % 25;
    char *name = bench_some(malloc(length));
    memset(name, (int)(key & 63) + 1, length);
    *n = (struct node){NULL, NULL, key, key % 97, name};
    return n;
}

static struct node *tree_build(uint32_t nodes, struct scratch *s, uint32_t seed)
{
    struct node *root = NULL;
    for (uint32_t i = 0; i < nodes; i++) {
        uint32_t key = bench_next(&seed);
        struct node **at = &root;
        while (*at)
            at = key < (*at)->key ? &(*at)->left : &(*at)->right;
        *at = new_node(key);
        scratch_step(s);
    }
    return root;
}

static uint64_t tree_sum(const struct node *n)
{
    if (!n)
        return 0;
    return tree_sum(n->left) + n->value + (uint64_t)n->name[0] + tree_sum(n->right);
}

static void tree_drop(struct node *n)
{
    if (!n)
        return;
    tree_drop(n->left);
    tree_drop(n->right);
    free(n->name);
    free(n);
}

static uint64_t tree(struct worker *w)
{
    enum { WALKS = 10 };
    uint32_t nodes = (uint32_t)micro_scaled(250000);
    struct scratch s = {{NULL}, w->seed};
    double start = cpu_now();
    struct node *root = tree_build(nodes, &s, w->seed);
    double built = cpu_now();
    uint64_t sum = tree_sum(root);
    for (int i = 1; i < WALKS; i++)
        if (tree_sum(bench_keep(root)) != sum) /* keep: or one walk would do for all */
            bench_die("a tree changed");
    double walked = cpu_now();
    tree_drop(root);
    scratch_drop(&s);
    if (w->id == 0) {
        micro_note("build_ns", (built - start) * 1e9 / nodes);
        micro_note("walk_ns", (walked - built) * 1e9 / nodes / WALKS);
    }
    return (uint64_t)nodes * WALKS;
}

/* ---- a graph with edges in vectors that grow ---- */

struct vertex {
    struct vertex **edge;
    uint32_t edges, room;
    uint32_t mark;
};

static void connect(struct vertex *from, struct vertex *to)
{
    if (from->edges == from->room) {
        from->room = from->room ? from->room * 2 : 2;
        from->edge = bench_some(realloc(from->edge, from->room * sizeof *from->edge));
    }
    from->edge[from->edges++] = to;
}

/* Edges lead to vertices made at about the same time, as references in a program's objects do. */
static void graph_build(struct vertex **all, uint32_t n, struct scratch *s, uint32_t *seed)
{
    for (uint32_t i = 0; i < n; i++) {
        all[i] = bench_some(calloc(1, sizeof *all[i]));
        scratch_step(s);
        for (uint32_t k = 0; i && k < 4; k++) {
            uint32_t r = bench_next(seed), reach = i < 1000 ? i : r & 7 ? 1000 : i;
            uint32_t other = i - 1 - (r >> 3) % reach;
            connect(all[i], all[other]);
            connect(all[other], all[i]);
        }
    }
}

/* Breadth first from the first vertex; how many it reached. */
static uint32_t graph_walk(struct vertex **all, struct vertex **queue, uint32_t mark)
{
    uint32_t head = 0, tail = 0;
    all[0]->mark = mark;
    queue[tail++] = all[0];
    while (head < tail) {
        struct vertex *v = queue[head++];
        for (uint32_t i = 0; i < v->edges; i++)
            if (v->edge[i]->mark != mark) {
                v->edge[i]->mark = mark;
                queue[tail++] = v->edge[i];
            }
    }
    return tail;
}

static uint64_t graph(struct worker *w)
{
    enum { WALKS = 8 };
    uint32_t n = (uint32_t)micro_scaled(150000);
    struct vertex **all = (struct vertex **)slot_table(n),
                  **queue = (struct vertex **)slot_table(n);
    struct scratch s = {{NULL}, w->seed};
    double start = cpu_now();
    graph_build(all, n, &s, &w->seed);
    double built = cpu_now();
    for (uint32_t i = 1; i <= WALKS; i++)
        if (graph_walk(all, queue, i) != n)
            bench_die("a graph lost vertices");
    double walked = cpu_now();
    for (uint32_t i = 0; i < n; i++) {
        free(all[i]->edge);
        free(all[i]);
    }
    scratch_drop(&s);
    bench_table_drop(all, n * sizeof *all);
    bench_table_drop(queue, n * sizeof *queue);
    if (w->id == 0) {
        micro_note("build_ns", (built - start) * 1e9 / n);
        micro_note("walk_ns", (walked - built) * 1e9 / n / WALKS);
    }
    return (uint64_t)n * WALKS;
}

/* ---- an index in memory, probed at random ---- */

/* What a key-value server or a join holds: half a GiB of entries of 48 to 303 bytes, in chains.
 * One probe in 16 replaces its entry by one of another size. */
enum { INDEX_ENTRIES = 3000000, INDEX_BUCKETS = 1 << 22 };

struct entry {
    struct entry *next;
    uint32_t key, length;
    unsigned char value[];
};

static struct entry *new_entry(uint32_t key, uint32_t seed, struct entry *next)
{
    uint32_t length = 32 + (seed & 0xFF);
    struct entry *e = bench_some(malloc(sizeof *e + length));
    *e = (struct entry){next, key, length};
    e->value[0] = e->value[length - 1] = (unsigned char)key;
    return e;
}

static struct entry **index_find(struct entry **bucket, uint32_t key)
{
    struct entry **at = &bucket[key * 2654435761u >> 10];
    while (*at && (*at)->key != key)
        at = &(*at)->next;
    return at;
}

static void index_replace(struct entry **at, uint32_t seed)
{
    struct entry *old = *at;
    *at = new_entry(old->key, seed, old->next);
    free(old);
}

/* In the order of the buckets, which is random in memory; returns how many there were. */
static uint32_t index_drop(struct entry **bucket)
{
    uint32_t entries = 0;
    for (uint32_t i = 0; i < INDEX_BUCKETS; i++)
        for (struct entry *e = bucket[i], *next; e; e = next, entries++) {
            next = e->next;
            free(e);
        }
    return entries;
}

static uint64_t index_probe(struct worker *w)
{
    uint64_t probes = micro_scaled(5000000);
    struct entry **bucket = bench_some(calloc(INDEX_BUCKETS, sizeof *bucket));
    double start = cpu_now();
    for (uint32_t key = 0; key < INDEX_ENTRIES; key++)
        *index_find(bucket, key) = new_entry(key, bench_next(&w->seed), NULL);
    double built = cpu_now();
    for (uint64_t i = 0; i < probes; i++) {
        uint32_t key = bench_next(&w->seed) % INDEX_ENTRIES;
        struct entry **at = index_find(bucket, key), *e = *at;
        if (!e || e->value[e->length - 1] != (unsigned char)key)
            bench_die("an index lost an entry");
        w->seed += e->length; /* the next probe waits for this one, as the next request does */
        if (i % 16 == 0)
            index_replace(at, bench_next(&w->seed));
    }
    double probed = cpu_now();
    if (index_drop(bucket) != INDEX_ENTRIES)
        bench_die("an index lost entries");
    free(bucket);
    if (w->id == 0) {
        micro_note("build_ns", (built - start) * 1e9 / INDEX_ENTRIES);
        micro_note("walk_ns", (probed - built) * 1e9 / (double)probes);
    }
    return probes;
}

const struct workload micro_graph[] = {
    {"tree", tree, 1, 1,
     "symbol tables, indexes: a search tree built and walked; op = node visited", 0, 0, 0},
    {"graph", graph, 1, 1,
     "object graphs, meshes: vertices with growing edge lists, walked in breadth", 0, 0, 0},
    {"index", index_probe, 1, 1, "key-value stores, joins: half a GiB probed at random; op = probe",
     0, 0, 0},
    {NULL, NULL, 0, 0, NULL, 0, 0, 0},
};
