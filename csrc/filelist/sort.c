/* Order and cleaning of a file list: flist.c:f_name_cmp, flist_sort_and_clean,
 * add_dirs_to_tree, flist_find; hlink.c:match_hard_links. */
#include "filelist/flist.h"
#include "filelist/packed.h"
#include "filter/rules.h"

#include <stdlib.h>

/* ---- order ---------------------------------------------------------------------------------- */

/* A cleared entry keeps its place in the order, so that a binary search still works around it. */
static bool sorts_as_dir(const ps_file *f) {
    return f->mode ? S_ISDIR(f->mode) : f->flags & PS_F_CONTENT_DIR;
}

/* Within a directory: "." first, then what is no directory, then the directories as if their names ended in a slash. */
static int name_class(const ps_file *f, const char *name) {
    if (!sorts_as_dir(f)) return 1;
    return f->name_len == 1 && *name == '.' ? 0 : 2;
}

static int compare_names(const char *a, size_t na, const char *b, size_t nb, bool dirs) {
    int d = memcmp(a, b, na < nb ? na : nb);
    if (d || na == nb) return d;
    u8 ca = na < nb ? (dirs ? '/' : 0) : (u8)a[nb];
    u8 cb = nb < na ? (dirs ? '/' : 0) : (u8)b[na];
    return (int)ca - (int)cb;
}

static int compare_in_dir(const ps_file *a, const char *name_a, const ps_file *b, const char *name_b) {
    int ca = name_class(a, name_a), cb = name_class(b, name_b);
    if (ca != cb) return ca - cb;
    return ca == 0 ? 0 : compare_names(name_a, a->name_len, name_b, b->name_len, ca == 2);
}

/* Byte i of a directory's path with its slash at the end; "" stays "", "/" stays "/". */
static size_t slashed_length(const char *path, size_t n) { return n && path[n - 1] != '/' ? n + 1 : n; }
static u8 slashed_at(const char *path, size_t n, size_t i) { return i < n ? (u8)path[i] : '/'; }

/* a's directory holds, at whatever depth, b's: `rest` is what leads from the one to the other, with a slash at the end. */
static int compare_above(const ps_file *a, const char *name_a, const char *rest, size_t rest_len) {
    if (name_class(a, name_a) != 2) return -1;
    size_t n = a->name_len < rest_len ? a->name_len : rest_len;
    int d = memcmp(name_a, rest, n);
    if (d) return d;
    d = '/' - (int)(u8)rest[n < rest_len ? n : rest_len - 1];
    return d ? d : -1; /* equal: a is the directory that b lies in */
}

static int compare_paths(const char *path_a, size_t na, const ps_file *a, const char *name_a, const char *path_b, size_t nb,
                         const ps_file *b, const char *name_b) {
    size_t la = slashed_length(path_a, na), lb = slashed_length(path_b, nb);
    size_t shared = la < lb ? la : lb, i = 0, plain = na < nb ? na : nb;
    if (plain && memcmp(path_a, path_b, plain) == 0) i = plain;
    while (i < shared && slashed_at(path_a, na, i) == slashed_at(path_b, nb, i)) i++;
    if (i < shared) return (int)slashed_at(path_a, na, i) - (int)slashed_at(path_b, nb, i);
    if (la == lb) return compare_in_dir(a, name_a, b, name_b);
    char rest[PS_LIMIT_NAME + 2];
    const char *longer = la < lb ? path_b : path_a;
    size_t n = (la < lb ? lb : la) - shared;
    memcpy(rest, longer + shared, n - 1);
    rest[n - 1] = '/';
    return la < lb ? compare_above(a, name_a, rest, n) : -compare_above(b, name_b, rest, n);
}

/* Before protocol 29 whole paths are compared, byte by byte, and it does not matter what an entry is. */
static bool by_path(const ps_flists *all) { return all->ctx->o.protocol < 29; }

static int compare_whole_paths(const char *path_a, size_t na, const ps_file *a, const char *name_a, const char *path_b, size_t nb,
                               const ps_file *b, const char *name_b) {
    size_t la = slashed_length(path_a, na), lb = slashed_length(path_b, nb), i = 0;
    size_t whole_a = la + a->name_len, whole_b = lb + b->name_len, shared = whole_a < whole_b ? whole_a : whole_b;
    for (; i < shared; i++) {
        u8 ca = i < la ? slashed_at(path_a, na, i) : (u8)name_a[i - la], cb = i < lb ? slashed_at(path_b, nb, i) : (u8)name_b[i - lb];
        if (ca != cb) return (int)ca - (int)cb;
    }
    return whole_a == whole_b ? 0 : whole_a < whole_b ? -1 : 1;
}

/* Two entries whose directories are other ones. */
static int compare_across(const ps_flists *all, const ps_dirname *da, const ps_file *a, const char *name_a, const ps_dirname *db,
                          const ps_file *b, const char *name_b) {
    const char *path_a = arena_at(&all->dir_arena, da->path), *path_b = arena_at(&all->dir_arena, db->path);
    if (by_path(all)) return compare_whole_paths(path_a, da->path_len, a, name_a, path_b, db->path_len, b, name_b);
    return compare_paths(path_a, da->path_len, a, name_a, path_b, db->path_len, b, name_b);
}

static int compare_beside(const ps_flists *all, const ps_file *a, const char *name_a, const ps_file *b, const char *name_b) {
    if (by_path(all)) return compare_names(name_a, a->name_len, name_b, b->name_len, false);
    return compare_in_dir(a, name_a, b, name_b);
}

static int compare_any(const ps_flists *all, const ps_flist *la, const ps_file *a, const ps_flist *lb, const ps_file *b) {
    const char *name_a = file_name(la, a), *name_b = file_name(lb, b);
    if (a->dir == b->dir) return compare_beside(all, a, name_a, b, name_b);
    return compare_across(all, &all->dirs[a->dir], a, name_a, &all->dirs[b->dir], b, name_b);
}

int file_compare(const ps_flists *all, const ps_flist *la, const ps_file *a, const ps_flist *lb, const ps_file *b) {
    bool alive_a = a && file_active(a), alive_b = b && file_active(b);
    if (!alive_a || !alive_b) return (int)alive_a - (int)alive_b;
    return compare_any(all, la, a, lb, b);
}

/* ---- sort ------------------------------------------------------------------------------------ */

typedef struct sort_item {
    u64 key;   /* first bytes of the basename, big-endian, directories with their slash */
    u32 index;
    u32 dir;   /* directory << 2 | class */
} sort_item;

typedef struct sorter {
    const ps_flists *all;
    const ps_flist *list;
} sorter;

static sort_item item_of(const ps_flists *all, const ps_flist *l, u32 i) {
    const ps_file *f = &l->files[i];
    const char *name = file_name(l, f);
    int class = by_path(all) ? 1 : name_class(f, name);
    u64 key = 0;
    size_t n = f->name_len;
    if (class) {
        for (size_t k = 0; k < 8; k++) key = key << 8 | (k < n ? (u8)name[k] : k == n && class == 2 ? '/' : 0);
    }
    return (sort_item){key, i, f->dir << 2 | (u32)class};
}

static int item_compare(const sorter *s, const sort_item *a, const sort_item *b) {
    if (PS_LIKELY(((a->dir ^ b->dir) & ~3u) == 0)) {
        if (a->dir != b->dir) return (int)(a->dir & 3) - (int)(b->dir & 3);
        if (a->key != b->key) return a->key < b->key ? -1 : 1;
    }
    return compare_any(s->all, s->list, &s->list->files[a->index], s->list, &s->list->files[b->index]);
}

static void merge_sort(const sorter *s, sort_item *v, size_t n, sort_item *spare) {
    if (n <= 8) {
        for (size_t i = 1; i < n; i++) {
            sort_item x = v[i];
            size_t j = i;
            for (; j && item_compare(s, &v[j - 1], &x) > 0; j--) v[j] = v[j - 1];
            v[j] = x;
        }
        return;
    }
    size_t half = n / 2;
    merge_sort(s, v, half, spare);
    merge_sort(s, v + half, n - half, spare);
    if (item_compare(s, &v[half - 1], &v[half]) <= 0) return;
    memcpy(spare, v, half * sizeof *v);
    size_t a = 0, b = half, out = 0;
    while (a < half && b < n) v[out++] = item_compare(s, &spare[a], &v[b]) <= 0 ? spare[a++] : v[b++];
    while (a < half) v[out++] = spare[a++];
}

static bool permute(ps_flist *l, const sort_item *order) {
    ps_file *files = malloc(l->cap * sizeof *files);
    if (!files) return false;
    for (u32 i = 0; i < l->count; i++) files[i] = l->files[order[i].index];
    free(l->files);
    l->files = files;
    if (!l->sums) return true;
    u8 *sums = malloc((size_t)l->count * l->sum_len);
    if (!sums) return false;
    for (u32 i = 0; i < l->count; i++)
        memcpy(sums + (size_t)i * l->sum_len, l->sums + (size_t)order[i].index * l->sum_len, l->sum_len);
    free(l->sums);
    l->sums = sums;
    return true;
}

/* Stable: equal names stay in the order in which they were sent, which both sides must agree on. */
static bool sort_list(const ps_flists *all, ps_flist *l) {
    sorter s = {all, l};
    sort_item *v = malloc(((size_t)l->count + (l->count + 1) / 2) * sizeof *v);
    if (!v) return false;
    bool sorted = true;
    for (u32 i = 0; i < l->count; i++) {
        v[i] = item_of(all, l, i);
        if (sorted && i && item_compare(&s, &v[i - 1], &v[i]) > 0) sorted = false;
    }
    bool ok = true;
    if (!sorted) {
        merge_sort(&s, v, l->count, v + l->count);
        ok = permute(l, v);
    }
    free(v);
    return ok;
}

/* ---- search ---------------------------------------------------------------------------------- */

static i32 search(const ps_flists *all, const ps_flist *l, u32 low, u32 high, u32 dir, const char *name, size_t len, bool want_dir) {
    ps_file wanted = {.mode = want_dir ? S_IFDIR : S_IFREG, .dir = dir, .name_len = (u16)len};
    const ps_dirname *dw = &all->dirs[dir];
    const char *path = arena_at(&all->dir_arena, dw->path);
    while (low < high) { /* the first entry that is not before the wanted one */
        u32 mid = low + (high - low) / 2;
        const ps_file *f = &l->files[mid];
        const ps_dirname *d = &all->dirs[f->dir];
        int c = f->dir == dir ? compare_beside(all, f, file_name(l, f), &wanted, name)
                              : compare_across(all, d, f, file_name(l, f), dw, &wanted, name);
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    for (u32 i = low; i < l->count; i++) {
        const ps_file *f = &l->files[i];
        const ps_dirname *d = &all->dirs[f->dir];
        if (by_path(all) ? file_active(f) && S_ISDIR(f->mode) != want_dir : sorts_as_dir(f) != want_dir) return -1;
        if (f->name_len != len || memcmp(file_name(l, f), name, len) != 0) return -1;
        if (f->dir != dir && (d->path_len != dw->path_len || memcmp(arena_at(&all->dir_arena, d->path), path, d->path_len) != 0))
            return -1;
        if (file_active(f)) return (i32)i;
    }
    return -1;
}

i32 flist_find(const ps_flists *all, const ps_flist *l, u32 dir, const char *name, size_t len, int want_dir) {
    if (len > PS_LIMIT_NAME) return -1;
    i32 at = -1;
    if (want_dir) at = search(all, l, l->low, l->high, dir, name, len, true);
    if (at < 0 && want_dir <= 0) at = search(all, l, l->low, l->high, dir, name, len, false);
    return at < (i32)l->high ? at : -1;
}

/* ---- cleaning -------------------------------------------------------------------------------- */

static void clear_entry(ps_file *f) {
    f->flags = (u16)(PS_F_DELETED | (S_ISDIR(f->mode) ? PS_F_CONTENT_DIR : 0));
    f->mode = 0;
    f->size = 0;
}

static bool is_sender(const ps_flists *all) { return all->ctx->o.role == PS_ROLE_SENDER; }

static u32 next_active(const ps_flist *l, u32 i, u32 end) {
    while (i < end && !file_active(&l->files[i])) i++;
    return i;
}

/* Of two entries with one name keeps the directory, else the first. The sender keeps all, so that the numbers agree,
 * and only marks a directory that is sent again. */
static void drop_doubles(const ps_flists *all, ps_flist *l) {
    bool sender = is_sender(all);
    l->low = next_active(l, 0, l->count);
    if (l->low == l->count) l->low = 0;
    u32 last = l->low;
    for (u32 i = l->low + 1; i < l->count; i++) {
        ps_file *f = &l->files[i];
        if (!file_active(f)) continue;
        i32 twin = -1;
        if (compare_any(all, l, f, l, &l->files[last]) == 0)
            twin = (i32)last;
        else if (S_ISDIR(f->mode) && !by_path(all))
            twin = search(all, l, l->low, last + 1, f->dir, file_name(l, f), f->name_len, false);
        if (twin < 0) {
            last = i;
            continue;
        }
        ps_file *other = &l->files[twin];
        if (S_ISDIR(f->mode) && !S_ISDIR(other->mode)) {
            if (!sender) clear_entry(other);
            if (l->low == (u32)twin) l->low = sender ? (u32)twin + 1 : next_active(l, (u32)twin + 1, i);
            last = i;
            continue;
        }
        if (S_ISDIR(f->mode)) {
            if (sender) {
                f->flags |= PS_F_DUPLICATE;
            } else {
                other->flags |= f->flags & (PS_F_TOP_DIR | PS_F_CONTENT_DIR);
                other->flags &= (u16)(f->flags | ~PS_F_IMPLIED_DIR);
            }
        }
        if (!sender) clear_entry(f);
    }
    l->high = last + 1;
}

/* -R sends absolute arguments with their slash, which takes part in the sort and is dropped only then. */
static bool strip_slashes(ps_flists *all, ps_flist *l) {
    for (u32 i = l->low; i < l->high; i++) {
        ps_file *f = &l->files[i];
        const ps_dirname *d = &all->dirs[f->dir];
        const char *path = arena_at(&all->dir_arena, d->path);
        size_t n = d->path_len, skip = 0;
        while (skip < n && path[skip] == '/') skip++;
        if (!skip) continue;
        char copy[PS_LIMIT_NAME + 1];
        memcpy(copy, path + skip, n - skip);
        u32 dir = flists_dir(all, copy, n - skip, d->root);
        if (dir == UINT32_MAX) return false;
        f->dir = dir;
    }
    return true;
}

/* -m: clears directories below which nothing but directories was sent. `pending`: the chain of directories of which
 * that is not yet known. */
static bool prune_empty(ps_flists *all, ps_flist *l) {
    u32 *pending = malloc((l->count + 1) * sizeof *pending), held = 0;
    if (!pending) return false;
    char path[PS_LIMIT_NAME + 2];
    for (u32 i = l->low; i < l->high; i++) {
        ps_file *f = &l->files[i];
        i32 depth = file_depth(all, l, f);
        if (!S_ISDIR(f->mode) || !depth) {
            held = 0;
            continue;
        }
        while (held && file_depth(all, l, &l->files[pending[held - 1]]) >= depth) clear_entry(&l->files[pending[--held]]);
        size_t n = file_path(all, l, f, path);
        if (all->rules && rules_check(all->rules, path, n, true, PS_SIDE_RECEIVER) < 0)
            held = 0;
        else
            pending[held++] = i;
    }
    while (held) clear_entry(&l->files[pending[--held]]);
    free(pending);
    l->low = next_active(l, l->low, l->high);
    while (l->high > l->low && !file_active(&l->files[l->high - 1])) l->high--;
    return true;
}

/* ---- the tree of directories ------------------------------------------------------------------- */

/* Copies the list's directories to the end of dir_entries, linked as siblings below `parent`. */
static bool add_dirs(ps_flists *all, ps_flist *l, i32 parent) {
    i32 before = -1;
    char path[PS_LIMIT_NAME + 2];
    for (u32 i = 0; i < l->count; i++) {
        const ps_file *f = &l->files[i];
        if (!sorts_as_dir(f)) continue;
        if (all->dir_entry_count == all->dir_entry_cap) {
            u32 cap = all->dir_entry_cap ? all->dir_entry_cap * 2 : 64;
            ps_dir_entry *grown = realloc(all->dir_entries, cap * sizeof *grown);
            if (!grown) return false;
            all->dir_entries = grown;
            all->dir_entry_cap = cap;
        }
        bool dot = file_is_dot(l, f);
        size_t n = file_path(all, l, f, path);
        ps_dir_entry *e = &all->dir_entries[all->dir_entry_count];
        *e = (ps_dir_entry){.file = *f, .parent = -1, .first_child = -1, .next_sibling = -1, .list_ndx = l->ndx_start + (i32)i};
        e->file.extra = PS_NO_EXTRA;
        e->file.name = arena_put(&all->dir_arena, path + n - f->name_len, f->name_len);
        e->self = dot && n == 1 ? 0 : flists_dir(all, path, n, all->dirs[f->dir].root);
        if (e->file.name == PS_NO_OFFSET || e->self == UINT32_MAX) return false;
        i32 here = (i32)all->dir_entry_count++;
        if (dot) continue; /* its contents are part of the first list */
        if (before >= 0)
            all->dir_entries[before].next_sibling = here;
        else if (parent >= 0)
            all->dir_entries[parent].first_child = here;
        else
            all->first_send_dir = here;
        e->parent = parent;
        before = here;
    }
    return true;
}

int flist_sort_and_clean(ps_flists *all, ps_flist *l, bool strip_root) {
    ps_ctx *c = all->ctx;
    l->through = all->total_count += l->count;
    l->low = l->high = 0;
    if (!l->count || l->packed_count) return PS_OK; /* packed: flist_ready */
    if (!sort_list(all, l)) return ps_fail_memory(c, "sorting the file list");
    if (is_sender(all) && !c->o.inc_recurse)
        l->high = l->count;
    else
        drop_doubles(all, l);
    if (strip_root && !strip_slashes(all, l)) return ps_fail_memory(c, "the file list");
    if (c->o.prune_empty_dirs && !is_sender(all) && !prune_empty(all, l)) return ps_fail_memory(c, "pruning the file list");
    if (!c->o.inc_recurse) return PS_OK;
    if (!add_dirs(all, l, l->parent_ndx)) return ps_fail_memory(c, "the directories of the file list");
    /* The first list is that of the top directory where it holds it: generators and deletion ask its parent for it. */
    if (l->ndx_start == 1 && l->low < l->high && all->dir_entry_count && file_is_dot(l, &l->files[l->low])) l->parent_ndx = 0;
    return PS_OK;
}

int flist_ready(ps_flists *all, ps_flist *l) {
    if (!l->packed_count) return PS_OK;
    if (!flist_unpack(l)) return ps_fail_memory(all->ctx, "the file list");
    if (!sort_list(all, l)) return ps_fail_memory(all->ctx, "sorting the file list");
    l->high = l->count;
    return PS_OK;
}

/* ---- hard links ------------------------------------------------------------------------------ */

static int compare_groups(const void *a, const void *b) {
    const i32 *x = a, *y = b;
    if (x[0] != y[0]) return x[0] > y[0] ? 1 : -1;
    return x[1] > y[1] ? 1 : -1;
}

/* Where a group of this list goes on from, under inc_recurse: sets *previous to the ndx before `f`. */
static int join_group(ps_flists *all, const ps_flist *l, ps_file *f, i32 group, i32 *previous, bool *settled) {
    ps_ctx *c = all->ctx;
    ps_link_group *g = flists_link_group(all, group, false);
    *previous = -1;
    *settled = false;
    if (!g) {
        if (group < l->ndx_start) return ps_fail(c, 2, 0, "hard-link gnum %d precedes flist start %d", group, l->ndx_start);
        if (!flists_link_group(all, group, true)) return ps_fail_memory(c, "hard links");
        f->flags |= PS_F_HLINK_FIRST;
        return PS_OK;
    }
    if (g->name != PS_NO_OFFSET) {
        *settled = true;
        return PS_OK;
    }
    ps_file *last = flists_file(all, g->last_ndx, NULL);
    if (last) {
        last->flags &= (u16)~PS_F_HLINK_LAST;
        *previous = g->last_ndx;
    } else {
        f->flags |= PS_F_HLINK_FIRST; /* all earlier members were skipped and their lists are gone */
    }
    return PS_OK;
}

static int link_group_members(ps_flists *all, ps_flist *l, const i32 (*members)[2], u32 n) {
    i32 group = members[0][0], previous = -1;
    bool incremental = all->ctx->o.inc_recurse, settled = false;
    ps_file *f = &l->files[members[0][1]];
    if (incremental) {
        if (join_group(all, l, f, group, &previous, &settled) != PS_OK) return PS_FAIL;
    } else {
        f->flags |= PS_F_HLINK_FIRST;
    }
    for (u32 i = 0; i < n; i++) {
        f = &l->files[members[i][1]];
        l->extras[f->extra].hlink_prev = previous;
        if (i + 1 < n) previous = l->ndx_start + members[i][1];
    }
    if (previous < 0 && !incremental) {
        f->flags &= (u16) ~(PS_F_HLINKED | PS_F_HLINK_FIRST); /* its other names are not part of this transfer */
        f->flags |= PS_F_HLINK_DONE;
        return PS_OK;
    }
    f->flags |= PS_F_HLINK_LAST;
    if (incremental && !settled) flists_link_group(all, group, false)->last_ndx = l->ndx_start + members[n - 1][1];
    return PS_OK;
}

int flist_match_links(ps_flists *all, ps_flist *l) {
    if (all->ctx->o.list_only || !l->count) return PS_OK;
    u32 n = 0;
    for (u32 i = 0; i < l->count; i++) n += (l->files[i].flags & PS_F_HLINKED) != 0;
    if (!n) return PS_OK;
    i32(*members)[2] = malloc(n * sizeof *members);
    if (!members) return ps_fail_memory(all->ctx, "hard links");
    n = 0;
    for (u32 i = 0; i < l->count; i++) {
        if (!(l->files[i].flags & PS_F_HLINKED)) continue;
        members[n][0] = l->extras[l->files[i].extra].hlink;
        members[n++][1] = (i32)i;
    }
    qsort(members, n, sizeof *members, compare_groups);
    int status = PS_OK;
    for (u32 from = 0, to; from < n && status == PS_OK; from = to) {
        for (to = from + 1; to < n && members[to][0] == members[from][0]; to++) {}
        status = link_group_members(all, l, (const i32(*)[2])&members[from], to - from);
    }
    free(members);
    return status;
}
