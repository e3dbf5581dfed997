#include "generator/sums_ahead.h"

#include "digest/xxh.h"
#include "digest/hash.h"
#include "filelist/flist.h"
#include "fs/root.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define STEP_FILES 1024
#define KNOWN_MOST (1u << 20) /* files whose sums are kept, 16 bytes each */

typedef struct known_sum {
    u64 state, sum; /* hashes; state 0: free */
} known_sum;

struct ps_sums_ahead {
    ps_ctx *c;
    ps_flists *all;
    char *dest;
    ps_root *root;
    bool off;
    i32 list_start; /* ndx_start of the list at hand */
    u32 next;       /* of its entries */
    known_sum *known;
    u32 count, cap; /* cap: a power of two */
    ps_sum *sum;
};

/* Where the generator may decide before it reads, reading early could be in vain. */
static bool decides_before(const ps_opts *o) {
    return o->ignore_existing || o->update || o->max_size >= 0 || o->min_size >= 0 || o->append;
}

ps_sums_ahead *sums_ahead_new(ps_ctx *c, ps_flists *all, const char *dest) {
    ps_sums_ahead *e = calloc(1, sizeof *e);
    if (!e) return NULL;
    e->c = c;
    e->all = all;
    e->list_start = -1;
    e->off = decides_before(&c->o);
    e->dest = strdup(dest);
    e->sum = sum_new();
    if (e->dest && e->sum) return e;
    sums_ahead_free(e);
    return NULL;
}

void sums_ahead_free(ps_sums_ahead *e) {
    if (!e) return;
    root_free(e->root);
    sum_free(e->sum);
    free(e->known);
    free(e->dest);
    free(e);
}

static u64 state_of(const struct stat *st) {
    u64 word[7] = {(u64)st->st_dev,          (u64)st->st_ino,          (u64)st->st_size,        (u64)st->st_mtim.tv_sec,
                   (u64)st->st_mtim.tv_nsec, (u64)st->st_ctim.tv_sec, (u64)st->st_ctim.tv_nsec};
    u64 h = ps_xxh3_baseline.hash64(word, sizeof word, 0);
    return h ? h : 1;
}

static known_sum *slot_of(known_sum *known, u32 cap, u64 state) {
    u32 at = (u32)state & (cap - 1);
    while (known[at].state && known[at].state != state) at = (at + 1) & (cap - 1);
    return &known[at];
}

static bool grow(ps_sums_ahead *e) {
    u32 cap = e->cap ? e->cap * 2 : 1024;
    known_sum *larger = calloc(cap, sizeof *larger);
    if (!larger) return false;
    for (u32 i = 0; i < e->cap; i++)
        if (e->known[i].state) *slot_of(larger, cap, e->known[i].state) = e->known[i];
    free(e->known);
    e->known = larger;
    e->cap = cap;
    return true;
}

static void remember(ps_sums_ahead *e, const struct stat *st, const u8 *sum, size_t len) {
    if (e->count >= e->cap / 2 && !grow(e)) {
        e->off = true;
        return;
    }
    known_sum *k = slot_of(e->known, e->cap, state_of(st));
    if (!k->state) e->count++;
    *k = (known_sum){state_of(st), ps_xxh3_baseline.hash64(sum, len, 0)};
}

bool sums_ahead_compare(const ps_sums_ahead *e, const struct stat *st, const u8 *want, size_t len, bool *same) {
    if (!e || !e->count) return false;
    u64 state = state_of(st);
    const known_sum *k = slot_of(e->known, e->cap, state);
    *same = k->state && k->sum == ps_xxh3_baseline.hash64(want, len, 0);
    return k->state;
}

/* The generator has been through the lists before, or has had its use of what is known of them. */
static void begin_list(ps_sums_ahead *e, const ps_flist *list) {
    e->list_start = list->ndx_start;
    e->next = 0;
    if (e->count) memset(e->known, 0, e->cap * sizeof *e->known);
    e->count = 0;
}

/* false: the destination is no directory, so nothing is known of what the names will mean. */
static bool enter(ps_sums_ahead *e) {
    if (e->root) return true;
    int fd = open(*e->dest ? e->dest : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    e->root = fd < 0 ? NULL : root_from_fd(e->c, fd);
    e->off = !e->root;
    return !e->off;
}

/* Bytes read. */
static i64 read_file(ps_sums_ahead *e, const ps_flist *l, const ps_file *f) {
    struct stat st;
    if (!S_ISREG(f->mode) || f->size <= 0) return 0;
    const char *name = file_name(l, f);
    int dir = root_dir(e->root, dir_path(e->all, f->dir), e->all->dirs[f->dir].path_len);
    if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || st.st_size != f->size) return 0;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return 0;
    u8 sum[PS_LIMIT_CHECKSUM] = {0};
    i64 left = st.st_size;
    sum_init(e->sum, e->c->o.file_sum);
    while (sum_read(e->sum, fd, &left) == PS_OK && !e->c->cancelled) continue;
    close(fd);
    (void)sum_final(e->sum, sum);
    if (!left) remember(e, &st, sum, l->sum_len);
    return st.st_size - left;
}

int sums_ahead_step(ps_sums_ahead *e, const ps_flist *list) {
    if (!e || e->off || !list || !list->sum_len || e->count >= KNOWN_MOST) return PS_AGAIN;
    if (list->ndx_start != e->list_start) begin_list(e, list);
    if (e->next >= list->count || !enter(e)) return PS_AGAIN;
    i64 bytes = 0;
    for (u32 files = 0; files < STEP_FILES && e->next < list->count && bytes < PS_HASH_STEP && !e->off && !e->c->cancelled; files++)
        bytes += read_file(e, list, &list->files[e->next++]);
    return PS_OK;
}
