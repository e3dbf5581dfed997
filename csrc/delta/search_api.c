/* Entry point of the block search for Python: csrc/api/hash_api.h. */
#include "digest/hash.h"

typedef struct ps_op_list {
    ps_match_op *ops;
    size_t cap, count;
    i32 full_every, reports;
    bool open; /* the last operation is a literal run that may still grow */
} ps_op_list;

static int add_op(void *owner, const u8 *literal, size_t n, i32 block) {
    ps_op_list *l = owner;
    (void)literal;
    if (!l->open && l->count++ < l->cap) l->ops[l->count - 1] = (ps_match_op){0, -1};
    if (l->count <= l->cap) {
        l->ops[l->count - 1].literal += (i64)n;
        l->ops[l->count - 1].block = block;
    }
    l->open = block < 0;
    return l->full_every && ++l->reports % l->full_every == 0 ? PS_FULL : PS_OK;
}

static int run_search(ps_match *m, int *error) {
    for (;;) {
        int status = match_step(m);
        if (status == PS_DONE) return PS_OK;
        if (status == PS_FAIL) {
            *error = errno;
            return PS_FAIL;
        }
    }
}

int ps_search_fd(const ps_search *q, const uint8_t *sums, int fd, ps_match_op *ops, size_t cap, size_t *count, uint8_t *file_sum,
                 int *error) {
    ps_sum_head head = {q->head.count, q->head.block_length, q->head.strong_length, q->head.remainder, 0};
    ps_op_list list = {.ops = ops, .cap = cap, .full_every = q->full_every};
    ps_block_hasher hasher = {0};
    ps_sums *s = sums_new();
    ps_match *m = match_new();
    ps_sum *whole = sum_new();
    int status = PS_FAIL;
    *error = ENOMEM;
    if (s && m && whole && sum_init(whole, q->sum_kind) && block_hasher_init(&hasher, q->kind, q->seed, q->proper_seed_order) &&
        sums_load(s, &head, sums) && match_begin(m, s, &hasher, fd, q->size, q->in_place, whole, add_op, &list)) {
        status = run_search(m, error);
        (void)sum_final(whole, file_sum);
        *count = list.count;
    }
    block_hasher_free(&hasher);
    sum_free(whole);
    match_free(m);
    sums_free(s);
    return status;
}
