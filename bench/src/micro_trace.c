/*
 * micro_trace: plays back recorded mixes (mix.h): how python3, gcc and redis use their heaps, with
 * all else those programs do left out.  Sizes, lives, reallocs and callocs come as often as they
 * did there; lives beyond a million allocations end at a million.
 *
 * One step is one allocation.  Blocks are written when they are made, and wait in a wheel for the
 * step they die in; then they are freed, or grow by realloc and begin another life.
 */
#include "micro.h"
#include "mix_tables.h"

enum { WHEEL = 1 << 20, NODES = WHEEL + WHEEL / 2, PICKS = 1 << 16, LIFE_PICKS = 1 << 12 };

struct node {
    void *block;
    uint32_t size;
    uint32_t next;
};

struct player {
    const struct mix *mix;
    uint32_t seed;
    uint32_t spare; /* list of unused nodes; 0 ends it, node 0 is never used */
    uint64_t births;
    uint8_t size_pick[PICKS]; /* random number to size bucket */
    uint8_t life_pick[MIX_BANDS][LIFE_PICKS];
    uint32_t wheel[WHEEL]; /* the nodes that die in a step */
    struct node node[NODES];
};

/* Fills a table so that a uniform index finds bucket i as often as weight[i] says. */
static void spread(uint8_t *pick, unsigned picks, const uint32_t *weight, unsigned n)
{
    uint64_t total = 0, sum = 0;
    unsigned at = 0;
    for (unsigned i = 0; i < n; i++)
        total += weight[i];
    for (unsigned i = 0; i < n; i++) {
        sum += weight[i];
        for (unsigned end = (unsigned)(total ? sum * picks / total : 0); at < end; at++)
            pick[at] = (uint8_t)i;
    }
}

static struct player *new_player(const struct mix *mix, uint32_t seed)
{
    struct player *p = bench_table(sizeof *p);
    micro_own(sizeof *p);
    p->mix = mix;
    p->seed = seed;
    spread(p->size_pick, PICKS, mix->size, MIX_BUCKETS);
    for (unsigned band = 0; band < MIX_BANDS; band++)
        spread(p->life_pick[band], LIFE_PICKS, mix->life[band], MIX_LIVES);
    for (uint32_t i = NODES - 1; i > 0; i--) {
        p->node[i].next = p->spare;
        p->spare = i;
    }
    return p;
}

static size_t draw_size(struct player *p)
{
    unsigned bucket = p->size_pick[bench_next(&p->seed) % PICKS];
    size_t high = mix_bucket_size(bucket), low = bucket ? mix_bucket_size(bucket - 1) + 1 : 8;
    return low + bench_next(&p->seed) % (high - low + 1);
}

static uint32_t draw_life(struct player *p, size_t size)
{
    unsigned bucket = p->life_pick[mix_band(size)][(bench_next(&p->seed) >> 8) % LIFE_PICKS];
    uint32_t below = bucket < 20 ? 1u << bucket : WHEEL;
    uint32_t life = below / 2 + bench_next(&p->seed) % (below - below / 2);
    return life < WHEEL ? life : WHEEL - 1;
}

static void write_block(void *block, size_t from, size_t to)
{
    if (to <= 512)
        memset((char *)block + from, 1, to - from);
    else
        bench_touch(block, from, to);
    *(void **)block = block;
}

/* Hangs a node into the wheel; without a spare one the block dies at once. */
static void begin_life(struct player *p, uint64_t step, void *block, size_t size)
{
    uint32_t at = p->spare;
    if (!at) {
        put(block);
        return;
    }
    p->spare = p->node[at].next;
    uint32_t *slot = &p->wheel[(step + 1 + draw_life(p, size)) % WHEEL];
    p->node[at] = (struct node){block, (uint32_t)size, *slot};
    *slot = at;
    p->births++;
}

static void birth(struct player *p, uint64_t step)
{
    size_t size = draw_size(p);
    void *block =
        bench_next(&p->seed) % 1000 < p->mix->calloc_permille ? calloc(1, size) : malloc(size);
    write_block(bench_some(block), 0, size);
    begin_life(p, step, block, size);
}

/* The end of a block: it is freed, or it grows and lives on. */
static void death(struct player *p, uint64_t step, const struct node *n)
{
    if (*(void **)n->block != n->block)
        bench_die("a block was damaged");
    if (bench_next(&p->seed) % 1000 >= p->mix->realloc_permille || n->size > 16 * MIB) {
        put(n->block);
        return;
    }
    size_t size = (size_t)n->size * p->mix->growth_percent / 100 + 1;
    void *block = bench_some(realloc(n->block, size));
    write_block(block, n->size, size);
    begin_life(p, step, block, size);
}

static void deaths(struct player *p, uint64_t step)
{
    uint32_t at = p->wheel[step % WHEEL];
    p->wheel[step % WHEEL] = 0;
    while (at) {
        struct node n = p->node[at];
        p->node[at].next = p->spare;
        p->spare = at;
        death(p, step, &n);
        at = n.next;
    }
}

static uint64_t play(struct worker *w, const struct mix *mix)
{
    struct player *p = new_player(mix, w->seed);
    uint64_t steps = micro_scaled(3000000);
    for (uint64_t step = 0; step < steps; step++) {
        deaths(p, step);
        birth(p, step);
    }
    for (uint32_t i = 0; i < WHEEL; i++)
        for (uint32_t at = p->wheel[i]; at; at = p->node[at].next)
            put(p->node[at].block);
    uint64_t births = p->births;
    bench_table_drop(p, sizeof *p);
    return births;
}

static uint64_t churn_python(struct worker *w)
{
    return play(w, &mix_python);
}

static uint64_t churn_gcc(struct worker *w)
{
    return play(w, &mix_gcc);
}

static uint64_t churn_redis(struct worker *w)
{
    return play(w, &mix_redis);
}

const struct workload micro_trace[] = {
    {"churn_python", churn_python, 1, 1,
     "the mix of a Python program, objects and all; op = allocation", 0, 0, 0},
    {"churn_gcc", churn_gcc, 1, 1, "the mix of a compiler", 0, 0, 0},
    {"churn_redis", churn_redis, 1, 1, "the mix of an in-memory database: strings that grow", 0, 0,
     0},
    {NULL, NULL, 0, 0, NULL, 0, 0, 0},
};
