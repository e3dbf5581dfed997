/* The sending side of the file list: its lists in order (flist.c:send_file_list, send_extra_file_list). */
#include "filelist/lister_inner.h"

#include <stdlib.h>
#include <time.h>

static u64 now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

ps_lister *lister_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *root) {
    ps_lister *l = calloc(1, sizeof *l);
    if (!l) {
        ps_fail_memory(c, "the file list");
        return NULL;
    }
    l->ctx = c;
    l->all = all;
    l->rules = rules;
    l->root = root;
    l->send_dir = l->depth = -1;
    l->base_dir = UINT32_MAX;
    l->names = dir_names_new();
    if (!l->names || flists_add_root(all, "", 0) == UINT32_MAX) { /* the first one: the ps_root itself */
        ps_fail_memory(c, "the file list");
        lister_free(l);
        return NULL;
    }
    l->follow_links = c->o.copy_links;
    l->any_filter = true;
    l->want_dirs = c->o.recurse || c->o.dirs;
    return l;
}

void lister_free(ps_lister *l) {
    if (!l) return;
    dir_names_free(l->names); /* the rules may be gone already: nothing is left of them to restore */
    arena_free(&l->text);
    free(l->args);
    free(l->rel);
    free(l->rel_head);
    free(l->frames);
    inodes_free(&l->inodes);
    if (l->sum) sum_free(l->sum);
    flist_free(l->list);
    free(l);
}

static int keep_argument(ps_lister *l, const char *path, size_t len) {
    if (l->arg_count == l->arg_cap) {
        u32 cap = l->arg_cap ? l->arg_cap * 2 : 16;
        void *grown = realloc(l->args, cap * sizeof *l->args);
        if (!grown) return ps_fail_memory(l->ctx, "the arguments");
        l->args = grown;
        l->arg_cap = cap;
    }
    u32 text = arena_put(&l->text, path, strnlen(path, len));
    if (text == PS_NO_OFFSET) return ps_fail_memory(l->ctx, "the arguments");
    l->args[l->arg_count].text = text;
    l->args[l->arg_count++].len = (u32)strnlen(path, len);
    return PS_OK;
}

int lister_arg(ps_lister *l, const char *path, size_t len) { return keep_argument(l, path, len); }

int lister_from_anywhere(ps_lister *l, const char *start, size_t len) {
    while (len && *start == '/') start++, len--;
    while (len && start[len - 1] == '/') len--;
    if (len > PS_LIMIT_NAME) return ps_fail(l->ctx, 3, ENAMETOOLONG, "the current directory's path is too long");
    l->anywhere = true;
    l->all->root_count = 0; /* nothing has used the first root yet */
    return flists_add_root(l->all, start, len) == UINT32_MAX ? ps_fail_memory(l->ctx, "the file list") : PS_OK;
}

int lister_files_from(ps_lister *l, const char *name, size_t len) {
    l->names_given = true;
    return len ? keep_argument(l, name, len) : PS_OK;
}

/* ---- the first list ---------------------------------------------------------------------------------------- */

static int begin(ps_lister *l) {
    ps_ctx *c = l->ctx;
    const ps_opts *o = &c->o;
    if (o->acls || o->xattrs || o->atimes)
        return ps_fail(c, 4, 0, "file lists with ACLs, extended attributes or access times are not supported yet");
    ps_log(c, PS_LOG_LOG, "building file list\n");
    if (o->info_flist >= 1 && !o->am_server) {
        if (o->inc_recurse)
            ps_log(c, PS_LOG_CLIENT, "sending incremental file list\n");
        else if (l->want_dirs)
            ps_log(c, PS_LOG_CLIENT, "building file list ... ");
    }
    l->list = flist_make(l->all, 0);
    if (!l->list) return ps_fail_memory(c, "the file list");
    l->began_ms = now_ms();
    l->started = true;
    l->at_root = UINT32_MAX;
    if (lister_go_to_root(l, 0) != PS_OK) return PS_FAIL;
    if (!l->names_given) return PS_OK;
    if (!l->arg_count) return ps_fail(c, 1, 0, "--files-from needs one source directory");
    l->next_arg = 1;
    return lister_files_base(l, arena_at(&l->text, l->args[0].text), l->args[0].len);
}

static int send_io_error(ps_lister *l) {
    u32 v = (u32)l->ctx->io_error;
    u8 x[4] = {(u8)v, (u8)(v >> 8), (u8)(v >> 16), (u8)(v >> 24)};
    return mux_out_message(l->out, PS_MSG_IO_ERROR, x, 4) ? PS_OK : ps_fail_memory(l->ctx, "output");
}

/* Before protocol 30 the word always stands at the end. */
static int put_old_io_error(ps_lister *l) {
    ps_ctx *c = l->ctx;
    u8 word[4];
    u32 bits = c->o.ignore_errors ? 0 : (u32)c->io_error;
    for (int i = 0; i < 4; i++) word[i] = (u8)(bits >> (8 * i));
    c->stats.flist_size += (i64)sizeof word;
    return mux_out_data(l->out, word, sizeof word) ? PS_OK : ps_fail_memory(c, "output");
}

/* Sorts the list that has been sent and hands it over. parent: index in dir_entries under which its directories are linked. */
static int finish_list(ps_lister *l, i32 parent) {
    ps_flist *list = l->list;
    l->list = NULL;
    list->parent_ndx = parent;
    flists_append(l->all, list);
    l->ctx->stats.num_files += (i32)list->count;
    if (flist_sort_and_clean(l->all, list, false) != PS_OK) return PS_FAIL;
    /* A client that only lists asks for nothing, and does not say so before: its list stays packed and unsorted. */
    return l->ctx->o.am_server && !ctx_swarms(l->ctx) ? PS_OK : flist_ready(l->all, list);
}

static int end_first(ps_lister *l) {
    ps_ctx *c = l->ctx;
    const ps_opts *o = &c->o;
    u64 built = now_ms();
    c->stats.flist_buildtime_ms = (i64)(built - l->began_ms);
    if (!c->stats.flist_buildtime_ms) c->stats.flist_buildtime_ms = 1;
    bool tell = c->io_error && !o->ignore_errors;
    if (!lister_put_end(l, tell && o->safe_flist)) return ps_fail_memory(c, "output");
    if (o->info_flist >= 1 && !o->am_server && !o->inc_recurse && l->want_dirs) ps_log(c, PS_LOG_INFO, "done\n");
    c->stats.flist_xfertime_ms = (i64)(now_ms() - built);
    if (finish_list(l, -1) != PS_OK) return PS_FAIL;
    if (o->inc_recurse) {
        l->send_dir = l->all->first_send_dir;
        l->depth = 1;
    } else {
        l->all->eof = true;
        if (o->numeric_ids <= 0) {
            ps_buf ids = {0};
            bool ok = ids_put_lists(ids_of(c), &ids) && mux_out_data(l->out, buf_head(&ids), buf_used(&ids));
            c->stats.flist_size += (i64)buf_used(&ids);
            buf_free(&ids);
            if (!ok) return ps_fail_memory(c, "output");
        }
    }
    if (o->protocol < 30) return put_old_io_error(l);
    return tell && !o->safe_flist ? send_io_error(l) : PS_OK;
}

int lister_first(ps_lister *l, ps_mux_out *out) {
    l->out = out;
    if (!l->started && begin(l) != PS_OK) return PS_FAIL;
    if (!l->list) return PS_OK;
    for (;;) {
        int status = lister_run(l);
        if (status != PS_OK) return status;
        if (l->next_arg == l->arg_count) break;
        if (lister_pauses(l)) return PS_FULL;
        u32 i = l->next_arg++;
        char arg[PS_LIMIT_NAME + 1]; /* the arena may move */
        size_t len = l->args[i].len;
        if (len > PS_LIMIT_NAME) return ps_fail(l->ctx, 22, 0, "overflow: a source argument of %zu bytes", len);
        memcpy(arg, arena_at(&l->text, l->args[i].text), len + 1);
        if (lister_argument(l, arg, len) != PS_OK) return PS_FAIL;
    }
    /* A client that is sent an empty list leaves at its end: what it is to be told must come before. */
    if (!l->paused && log_for_client(l->ctx)) {
        l->paused = true;
        return PS_FULL;
    }
    return end_first(l);
}

int lister_ready(ps_lister *l) { return l->all->first ? flist_ready(l->all, l->all->first) : PS_OK; }

/* ---- sub-lists ------------------------------------------------------------------------------------------------ */

/* flist.c:send1extra, up to its names. */
static int begin_dir(ps_lister *l, i32 index) {
    char path[PS_LIMIT_NAME + 2];
    const ps_dir_entry *e = &l->all->dir_entries[index];
    const ps_dirname *d = &l->all->dirs[e->self];
    u16 flags = e->file.flags;
    size_t len = d->path_len;
    memcpy(path, arena_at(&l->all->dir_arena, d->path), len);
    path[len] = 0;
    if (lister_go_to_root(l, d->root) != PS_OK) return PS_FAIL;
    ps_root *inner = l->rules && rules_any_merge(l->rules) ? lister_inner(l) : NULL;
    if (inner && rules_change_dir(l->rules, inner, path, len, l->depth) != PS_OK) return PS_FAIL;
    return flags & PS_F_CONTENT_DIR ? lister_push_dir(l, path, len, PS_F_CONTENT_DIR, false, false) : PS_OK;
}

static int end_dir(ps_lister *l) {
    if (!l->ctx->o.relative) return PS_OK;
    char path[PS_LIMIT_NAME + 2];
    u32 self = l->all->dir_entries[l->send_dir].self;
    const ps_dirname *d = &l->all->dirs[self];
    size_t len = d->path_len;
    memcpy(path, arena_at(&l->all->dir_arena, d->path), len);
    path[len] = 0;
    return lister_rel_names(l, self, path, len);
}

static int begin_sub_list(ps_lister *l, ps_ndx_state *ndx) {
    ps_ctx *c = l->ctx;
    u8 space[8];
    ps_buf head = {.data = space, .cap = sizeof space};
    if (!buf_ndx(&head, ndx, c->o.protocol, PS_NDX_FLIST_OFFSET - l->send_dir) || !mux_out_data(l->out, space, head.len))
        return ps_fail_memory(c, "output");
    l->sub_first = l->send_dir;
    l->list = flist_make(l->all, 0);
    return l->list ? begin_dir(l, l->send_dir) : ps_fail_memory(c, "the file list");
}

/* The directory of the same name that is sent with the one at hand; -1: none. */
static i32 next_twin(ps_lister *l) {
    ps_flists *all = l->all;
    const ps_dir_entry *before = &all->dir_entries[l->send_dir];
    i32 next = before->next_sibling;
    if (next < 0 || !(all->dir_entries[next].file.flags & PS_F_DUPLICATE)) return -1;
    ps_dir_entry *twin = &all->dir_entries[next];
    if (all->dirs[twin->self].root == all->dirs[before->self].root && before->file.flags & PS_F_CONTENT_DIR)
        twin->file.flags &= (u16)~PS_F_CONTENT_DIR; /* the same directory again */
    return next;
}

/* One sub-list: the directory, and those of the same name that are sent with it. Begins it where none is under way; PS_FULL:
 * it goes on at the next call, and nothing else may be written into the stream before. */
static int send_sub_list(ps_lister *l, ps_ndx_state *ndx) {
    ps_ctx *c = l->ctx;
    if (!l->list && begin_sub_list(l, ndx) != PS_OK) return PS_FAIL;
    for (;;) {
        int status = lister_run(l);
        if (status != PS_OK) return status;
        if (end_dir(l) != PS_OK) return PS_FAIL;
        i32 twin = next_twin(l);
        if (twin < 0) break;
        l->send_dir = twin;
        if (begin_dir(l, twin) != PS_OK) return PS_FAIL;
    }
    bool tell = c->io_error != l->error_before && !c->o.ignore_errors && c->o.safe_flist;
    if (!lister_put_end(l, tell)) return ps_fail_memory(c, "output");
    ps_flist *list = l->list;
    if (finish_list(l, l->send_dir) != PS_OK) return PS_FAIL;
    list->parent_ndx = l->sub_first;
    return PS_OK;
}

/* Goes to the next directory, children first. false: there is none. */
static bool advance(ps_lister *l) {
    const ps_dir_entry *e = &l->all->dir_entries[l->send_dir];
    if (e->first_child >= 0) {
        l->send_dir = e->first_child;
        l->depth++;
        return true;
    }
    while (e->next_sibling < 0) {
        if ((l->send_dir = e->parent) < 0) return false;
        l->depth--;
        e = &l->all->dir_entries[l->send_dir];
    }
    l->send_dir = e->next_sibling;
    return true;
}

static int put_eof(ps_lister *l, ps_ndx_state *ndx) {
    u8 space[8];
    ps_buf b = {.data = space, .cap = sizeof space};
    if (!buf_ndx(&b, ndx, l->ctx->o.protocol, PS_NDX_FLIST_EOF) || !mux_out_data(l->out, space, b.len))
        return ps_fail_memory(l->ctx, "output");
    l->all->eof = true;
    l->send_dir = -1;
    if (l->rules && rules_any_merge(l->rules)) (void)rules_change_dir(l->rules, NULL, NULL, 0, 0);
    return PS_DONE;
}

int lister_more(ps_lister *l, ps_mux_out *out, ps_ndx_state *ndx, i32 want) {
    ps_ctx *c = l->ctx;
    if (l->all->eof) return PS_DONE;
    l->out = out;
    if (l->send_dir < 0) return put_eof(l, ndx);
    if (!l->list) l->error_before = c->io_error;
    int status = PS_OK;
    while (status == PS_OK && (l->list || flists_ahead(l->all) < want)) {
        if (buf_used(&out->out) >= LISTER_HIGH_WATER)
            status = PS_FULL;
        else if ((status = send_sub_list(l, ndx)) == PS_OK && !advance(l))
            status = put_eof(l, ndx);
    }
    if (status == PS_FAIL || l->list) return status;
    bool tell = c->io_error != l->error_before && c->o.protocol == 30 && !c->o.ignore_errors;
    if (tell && send_io_error(l) != PS_OK) return PS_FAIL;
    return status;
}
