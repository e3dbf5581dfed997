#include "filelist/flist.h"
#include "filelist/ids.h"
#include "fs/root.h"

#include <stdlib.h>
#include <sys/random.h>

/* ---- lists --------------------------------------------------------------------------------- */

ps_flists *flists_new(ps_ctx *c) {
    ps_flists *all = calloc(1, sizeof *all);
    if (!all) {
        ps_fail_memory(c, "the file list");
        return NULL;
    }
    all->ctx = ctx_hold(c);
    all->first_send_dir = -1;
    all->next_ndx_start = c->o.inc_recurse ? 1 : 0;
    if (!ids_make(c)) {
        ps_ctx_free(c);
        free(all);
        return NULL;
    }
    if (getrandom(&all->hash_seed, sizeof all->hash_seed, GRND_NONBLOCK) < 0) all->hash_seed = (u64)(uintptr_t)all;
    if (flists_dir(all, "", 0, 0) != 0) {
        ps_fail_memory(c, "the file list");
        flists_free(all);
        return NULL;
    }
    return all;
}

void flist_free(ps_flist *l) {
    if (!l) return;
    free(l->files);
    buf_free(&l->packed);
    free(l->packed_last);
    arena_free(&l->names);
    free(l->extras);
    free(l->sums);
    free(l);
}

void flists_free(ps_flists *all) {
    if (!all) return;
    for (ps_flist *l = all->first, *next; l; l = next) {
        next = l->next;
        flist_free(l);
    }
    free(all->by_ndx);
    free(all->dirs);
    arena_free(&all->dir_arena);
    free(all->dir_entries);
    free(all->dir_hash);
    free(all->link_groups);
    for (u32 i = 0; i < all->root_count; i++)
        if (!all->roots[i].borrowed) root_free(all->roots[i].inner);
    free(all->roots);
    arena_free(&all->root_paths);
    ps_ctx_free(all->ctx);
    free(all);
}

/* Room in by_ndx for the lists that are being made, so that appending them cannot fail. */
static bool reserve_by_ndx(ps_flists *all) {
    const u32 making = 4; /* at once: a decoder or a lister has one under way, and may add another meanwhile */
    if (all->by_ndx_head >= 64 && all->by_ndx_head >= all->list_count) {
        memmove(all->by_ndx, all->by_ndx + all->by_ndx_head, all->list_count * sizeof *all->by_ndx);
        all->by_ndx_head = 0;
    }
    u32 wanted = all->by_ndx_head + all->list_count + making;
    if (wanted <= all->by_ndx_cap) return true;
    void *grown = realloc(all->by_ndx, (size_t)wanted * 2 * sizeof *all->by_ndx);
    if (!grown) return false;
    all->by_ndx = grown;
    all->by_ndx_cap = wanted * 2;
    return true;
}

ps_flist *flist_make(ps_flists *all, u32 reserve) {
    if (!reserve_by_ndx(all)) return NULL;
    ps_flist *l = calloc(1, sizeof *l);
    if (!l) return NULL;
    if (reserve) {
        l->files = malloc(reserve * sizeof *l->files);
        if (!l->files) {
            free(l);
            return NULL;
        }
        l->cap = reserve;
    }
    l->ndx_start = all->last ? all->last->ndx_start + (i32)all->last->count + 1 : all->next_ndx_start;
    l->parent_ndx = -1;
    return l;
}

void flists_append(ps_flists *all, ps_flist *l) {
    l->prev = all->last;
    if (all->last)
        all->last->next = l;
    else
        all->first = l;
    all->last = l;
    all->by_ndx[all->by_ndx_head + all->list_count++] = l;
}

ps_flist *flists_add(ps_flists *all, u32 reserve) {
    ps_flist *l = flist_make(all, reserve);
    if (l) flists_append(all, l);
    return l;
}

void flists_drop_first(ps_flists *all) {
    ps_flist *l = all->first;
    if (!l) return;
    all->first = l->next;
    if (l->next) {
        l->next->prev = NULL;
    } else {
        all->last = NULL;
        all->next_ndx_start = l->ndx_start + (i32)l->count + 1;
    }
    all->list_count--;
    all->by_ndx_head = all->list_count ? all->by_ndx_head + 1 : 0;
    flist_free(l);
}

ps_flist *flists_for_ndx(const ps_flists *all, i32 ndx) {
    ps_flist **lists = all->by_ndx + all->by_ndx_head;
    u32 low = 0, high = all->list_count; /* lists before `low` start at or before ndx, those from `high` on behind it */
    while (low < high) {
        u32 middle = low + (high - low) / 2;
        if (lists[middle]->ndx_start <= ndx)
            low = middle + 1;
        else
            high = middle;
    }
    if (!low) return NULL;
    ps_flist *l = lists[low - 1];
    return ndx - l->ndx_start < (i32)l->count ? l : NULL; /* the gap behind a list is a directory, which is in an older list */
}

ps_file *flists_file(const ps_flists *all, i32 ndx, ps_flist **list) {
    ps_flist *l = flists_for_ndx(all, ndx);
    if (list) *list = l;
    return l && !l->packed_count ? &l->files[ndx - l->ndx_start] : NULL;
}

static bool grow(void **data, u32 *cap, size_t size, u32 first) {
    u32 more = *cap ? *cap * 2 : first;
    if (more <= *cap) return false;
    void *grown = realloc(*data, more * size);
    if (!grown) return false;
    *data = grown;
    *cap = more;
    return true;
}

ps_file *flist_push(ps_flist *l) {
    u32 at = l->count - l->packed_count;
    if (PS_UNLIKELY(at == l->cap)) {
        void *p = l->files;
        bool ok = grow(&p, &l->cap, sizeof *l->files, 32);
        l->files = p;
        if (!ok) return NULL;
    }
    ps_file *f = &l->files[at];
    l->count++;
    *f = (ps_file){.extra = PS_NO_EXTRA};
    return f;
}

ps_file_extra *flist_push_extra(ps_flist *l, ps_file *f) {
    if (l->extra_count == l->extra_cap) {
        void *p = l->extras;
        bool ok = grow(&p, &l->extra_cap, sizeof *l->extras, 16);
        l->extras = p;
        if (!ok) return NULL;
    }
    f->extra = l->extra_count;
    ps_file_extra *e = &l->extras[l->extra_count++];
    *e = (ps_file_extra){.link = PS_NO_OFFSET, .hlink = -1, .hlink_prev = -1};
    return e;
}

/* ---- directory names ----------------------------------------------------------------------- */

static u64 mix(u64 h, u64 v) {
    h = (h ^ v) * 0x9fb21c651e98df25ull;
    return h ^ h >> 32;
}

static u32 hash_path(const ps_flists *all, const char *path, size_t len, u32 root) {
    u64 h = mix(all->hash_seed, (u64)len << 32 | root);
    for (; len >= 8; path += 8, len -= 8) {
        u64 v;
        memcpy(&v, path, 8);
        h = mix(h, v);
    }
    u64 v = 0;
    memcpy(&v, path, len);
    return (u32)mix(h, v);
}

static bool rehash(ps_flists *all) {
    u32 cap = all->dir_hash_cap ? all->dir_hash_cap * 2 : 256;
    u32 *table = malloc(cap * sizeof *table);
    if (!table) return false;
    memset(table, 0xff, cap * sizeof *table);
    for (u32 i = 0; i < all->dir_count; i++) {
        const ps_dirname *d = &all->dirs[i];
        u32 at = hash_path(all, arena_at(&all->dir_arena, d->path), d->path_len, d->root) & (cap - 1);
        while (table[at] != UINT32_MAX) at = (at + 1) & (cap - 1);
        table[at] = i;
    }
    free(all->dir_hash);
    all->dir_hash = table;
    all->dir_hash_cap = cap;
    return true;
}

/* util1.c:count_dir_elements: "." components do not count. */
static u32 count_components(const char *p, size_t len) {
    u32 n = 0;
    for (size_t i = 0; i < len;) {
        size_t start = i;
        while (i < len && p[i] != '/') i++;
        if (i > start && !(i == start + 1 && p[start] == '.' && start)) n++;
        i++;
    }
    return n;
}

u32 flists_add_root(ps_flists *all, const char *path, size_t len) {
    if (all->root_count == all->root_cap) {
        void *p = all->roots;
        bool ok = grow(&p, &all->root_cap, sizeof *all->roots, 8);
        all->roots = p;
        if (!ok) return UINT32_MAX;
    }
    u32 text = arena_put(&all->root_paths, path, len);
    if (text == PS_NO_OFFSET) return UINT32_MAX;
    all->roots[all->root_count] = (ps_list_root){.path = text, .len = (u32)len};
    return all->root_count++;
}

u32 flists_dir(ps_flists *all, const char *path, size_t len, u32 root) {
    if (all->dir_count >= all->dir_hash_cap / 2 && !rehash(all)) return UINT32_MAX;
    u32 mask = all->dir_hash_cap - 1, at = hash_path(all, path, len, root) & mask;
    for (; all->dir_hash[at] != UINT32_MAX; at = (at + 1) & mask) {
        const ps_dirname *d = &all->dirs[all->dir_hash[at]];
        if (d->path_len == len && d->root == root && memcmp(arena_at(&all->dir_arena, d->path), path, len) == 0)
            return all->dir_hash[at];
    }
    if (all->dir_count == all->dir_cap) {
        void *p = all->dirs;
        bool ok = grow(&p, &all->dir_cap, sizeof *all->dirs, 64);
        all->dirs = p;
        if (!ok) return UINT32_MAX;
    }
    u32 text = arena_put(&all->dir_arena, path, len);
    if (text == PS_NO_OFFSET) return UINT32_MAX;
    u32 index = all->dir_count++;
    all->dirs[index] = (ps_dirname){text, (u32)len, count_components(arena_at(&all->dir_arena, text), len), root};
    all->dir_hash[at] = index;
    return index;
}

/* ---- entries ------------------------------------------------------------------------------- */

size_t file_path(const ps_flists *all, const ps_flist *l, const ps_file *f, char *out) {
    const ps_dirname *d = &all->dirs[f->dir];
    size_t n = d->path_len;
    if (n) {
        memcpy(out, arena_at(&all->dir_arena, d->path), n);
        if (out[n - 1] != '/') out[n++] = '/';
    }
    memcpy(out + n, file_name(l, f), f->name_len);
    n += f->name_len;
    out[n] = 0;
    return n;
}

size_t file_shown_path(const ps_flists *all, const ps_flist *l, const ps_file *f, char *out) {
    u32 root = all->dirs[f->dir].root;
    size_t n = root < all->root_count && all->roots[root].slash ? 1 : 0;
    if (n) *out = '/';
    return n + file_path(all, l, f, out + n);
}

size_t file_source_path(const ps_flists *all, const ps_flist *l, const ps_file *f, char out[PS_SOURCE_PATH]) {
    const char *above = file_root_path(all, f);
    size_t n = strlen(above);
    if (n > PS_LIMIT_NAME) return 0;
    memcpy(out, above, n);
    if (n && out[n - 1] != '/') out[n++] = '/';
    return n + file_path(all, l, f, out + n);
}

i32 file_depth(const ps_flists *all, const ps_flist *l, const ps_file *f) {
    i32 depth = (i32)all->dirs[f->dir].depth + 1;
    return S_ISDIR(f->mode) && file_is_dot(l, f) ? depth - 1 : depth;
}

const char *file_link(const ps_flist *l, const ps_file *f) {
    const ps_file_extra *e = file_extra(l, f);
    return e && e->link != PS_NO_OFFSET ? arena_at(&l->names, e->link) : NULL;
}

/* ---- hard-link groups ------------------------------------------------------------------------ */

static u32 group_slot(const ps_link_group *table, u32 cap, i32 group) {
    u32 at = ((u32)group * 0x9E3779B1u) >> 7 & (cap - 1);
    while (table[at].group != -1 && table[at].group != group) at = (at + 1) & (cap - 1);
    return at;
}

static bool grow_groups(ps_flists *all) {
    u32 cap = all->link_group_cap ? all->link_group_cap * 2 : 256;
    ps_link_group *table = malloc(cap * sizeof *table);
    if (!table) return false;
    for (u32 i = 0; i < cap; i++) table[i].group = -1;
    for (u32 i = 0; i < all->link_group_cap; i++) {
        const ps_link_group *g = &all->link_groups[i];
        if (g->group != -1) table[group_slot(table, cap, g->group)] = *g;
    }
    free(all->link_groups);
    all->link_groups = table;
    all->link_group_cap = cap;
    return true;
}

ps_link_group *flists_link_group(ps_flists *all, i32 group, bool add) {
    if (add && all->link_group_count >= all->link_group_cap / 2 && !grow_groups(all)) return NULL;
    if (!all->link_group_cap) return NULL;
    ps_link_group *g = &all->link_groups[group_slot(all->link_groups, all->link_group_cap, group)];
    if (g->group == group) return g;
    if (!add) return NULL;
    *g = (ps_link_group){group, -1, PS_NO_OFFSET, 0};
    all->link_group_count++;
    return g;
}
