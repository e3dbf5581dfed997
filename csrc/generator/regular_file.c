/* Regular files: is new data needed, what it can build on, and the request. */
#include "generator/generator_inner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What the new data is to be built on. */
typedef struct basis {
    u8 type;           /* PS_BASIS_* */
    bool there;        /* statret == 0 */
    i64 size;
    const char *path;  /* for messages; relative to the root or absolute */
    char buf[PS_LIMIT_NAME + 1];
} basis;

static int partial_stat(ps_gen *g, const char *path, struct stat *st) {
    return *path == '/' ? option_lstat(g->c, NULL, path, st) : gen_lstat(g, path, st);
}

/* The file turned out to be complete: what a broken run has left is of no use. */
static void drop_partial(ps_gen *g, const char *path) {
    if (g->c->o.dry_run) return;
    const char *slash = strrchr(path, '/');
    if (*path == '/') {
        const char *leaf;
        int above = option_parent(g->c, NULL, path, &leaf);
        if (above < 0) return;
        unlinkat(above, leaf, 0);
        close(above);
        return;
    }
    const char *base;
    int dir = root_parent(g->root, path, &base);
    if (dir >= 0) unlinkat(dir, base, 0);
    if (!slash) return;
    char above[PS_LIMIT_NAME + 1];
    snprintf(above, sizeof above, "%.*s", (int)(slash - path), path);
    root_forget(g->root, above, strlen(above));
    dir = root_parent(g->root, above, &base);
    if (dir >= 0) unlinkat(dir, base, AT_REMOVEDIR);
}

static int open_basis(ps_gen *g, gen_item *it, const basis *b) {
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    if (b->type == PS_BASIS_FNAME) return openat(it->dirfd, it->leaf, flags);
    if (b->type == PS_BASIS_PARTIAL_DIR && *b->path != '/') return root_openat(g->root, b->path, flags, 0);
    return option_file(g->c, g->root, b->path, flags);
}

/* ---- the request ------------------------------------------------------------------------------------- */

static bool appends(const ps_gen *g) { return g->c->o.append > 0 && !g->redoing; }

static void put_sum_head(ps_gen *g, const ps_sum_head *h) {
    u8 room[16];
    ps_buf b = {.data = room, .cap = sizeof room};
    buf_i32(&b, h->count);
    buf_i32(&b, h->block_length);
    buf_i32(&b, h->strong_length);
    buf_i32(&b, h->remainder);
    gen_put(g, room, b.len);
}

static void put_sums(ps_gen *g, int fd, const basis *b) {
    static const ps_sum_head none;
    const ps_opts *o = &g->c->o;
    ps_sum_head head = none;
    if (!b->there || g->whole_file || b->size <= 0) {
        put_sum_head(g, &none);
        return;
    }
    sum_head_for(b->size, o->block_size, o->protocol, o->xfer_sum, g->redoing, &head);
    if (head.count < 0) {
        ps_log(g->c, PS_LOG_WARNING, "WARNING: file is too large for checksum sending: %s\n", b->path);
        put_sum_head(g, &none);
        return;
    }
    if (appends(g)) {
        put_sum_head(g, &head); /* how much there is, without sums: the rest is wanted */
        return;
    }
    if (!g->have_hasher) {
        if (!block_hasher_init(&g->hasher, o->xfer_sum, o->checksum_seed, o->proper_seed_order)) {
            gen_fail_memory(g);
            return;
        }
        g->have_hasher = true;
    }
    buf_clear(&g->block_sums);
    if (block_sums_of_fd(&g->hasher, fd, &head, &g->block_sums) != PS_OK) {
        /* It cannot be read to its end: the whole file is asked for. */
        char full[PS_FULL_FNAME];
        ps_log_errno(g->c, PS_LOG_ERROR, errno, "rsync: [generator] read errors mapping %s", full_fname(g->c, b->path, full));
        put_sum_head(g, &none);
        return;
    }
    put_sum_head(g, &head);
    gen_put(g, g->block_sums.data + g->block_sums.start, buf_used(&g->block_sums));
}

static u32 request_flags(const ps_gen *g, const basis *b) {
    u32 iflags = PS_ITEM_TRANSFER;
    if (g->c->o.checksum && !g->redoing) iflags |= PS_ITEM_REPORT_CHANGE;
    if (b->type != PS_BASIS_FNAME) iflags |= PS_ITEM_BASIS_TYPE_FOLLOWS;
    return iflags;
}

static bool queue_job(ps_gen *g, const gen_item *it, const basis *b, int real_ret, const struct stat *real) {
    if (g->job_count == g->job_cap) {
        size_t cap = g->job_cap ? g->job_cap * 2 : 256;
        ps_gen_job *grown = realloc(g->jobs, cap * sizeof *grown);
        if (!grown) return !gen_fail_memory(g);
        g->jobs = grown;
        g->job_cap = cap;
    }
    ps_gen_job *j = &g->jobs[g->job_count++];
    *j = (ps_gen_job){.ndx = it->ndx, .size = it->f->size, .basis_size = b->there ? b->size : 0, .basis = b->type};
    g->undecided++;
    j->iflags = gen_item_flags(g, it->f, real_ret, real, request_flags(g, b), NULL);
    return true;
}

/* The one place where data is asked for. fd: the basis, or -1. */
static void request(ps_gen *g, gen_item *it, const basis *b, int fd, int real_ret, const struct stat *real, u32 wire_mode) {
    const ps_opts *o = &g->c->o;
    if (o->remove_source_files && !o->delay_updates && !g->phase && !o->dry_run) {
        g->active_count++;
        g->active_bytes += it->f->size;
    }
    if (o->inc_recurse && moves_data(o)) it->l->in_progress++;
    if (gen_follows_links(g, it)) it->f->flags |= PS_F_FILE_SENT;
    if (o->read_batch) {
        if (!queue_push(&g->wanted, it->ndx)) gen_fail_memory(g);
    } else if (ctx_swarms(g->c) && !g->routing && !o->dry_run && !g->redoing) {
        queue_job(g, it, b, real_ret, real);
    } else {
        gen_put_ndx(g, it->ndx);
        if (it->itemizing) gen_itemize(g, it, -1, real_ret, real, request_flags(g, b), b->type, NULL);
        if (moves_data(o)) put_sums(g, fd, b);
    }
    if (!moves_data(o)) {
        if (gen_follows_links(g, it)) gen_finish_link(g, it, real, -1);
    } else {
        it->f->mode = wire_mode; /* the receiver decides anew, by the basis that it really opens */
    }
}

/* ---- is it wanted ------------------------------------------------------------------------------------- */

static const char *reported_name(ps_gen *g, gen_item *it, char own[PS_LIMIT_NAME + 1]) {
    if (!g->solo) return item_path(g, it);
    file_path(g->all, it->l, it->f, own);
    return own;
}

static bool out_of_bounds(ps_gen *g, gen_item *it) {
    const ps_opts *o = &g->c->o;
    if (g->redoing) return false;
    bool over = o->max_size >= 0 && it->f->size > o->max_size, under = o->min_size >= 0 && it->f->size < o->min_size;
    char own[PS_LIMIT_NAME + 1];
    if ((over || under) && o->info_skip >= 1)
        ps_log(g->c, PS_LOG_INFO, "%s is %s\n", reported_name(g, it, own), over ? "over max-size" : "under min-size");
    return over || under;
}

static bool destination_newer(ps_gen *g, gen_item *it, int statret, const struct stat *st) {
    const ps_opts *o = &g->c->o;
    if (!o->update || g->redoing || statret != 0 || !S_ISREG(st->st_mode)) return false;
    if (it->f->mtime - st->st_mtim.tv_sec >= o->modify_window) return false;
    if (o->info_skip >= 1) ps_log(g->c, PS_LOG_INFO, "%s is newer\n", item_path(g, it));
    if (item_hlinked(it)) gen_skipped_link(g, it->l, it->f);
    return true;
}

/* rsync.c:set_file_attrs looks again after it has changed the owner of a set-id file, before it sets the mode: what is
 * itemized then is the new owner and the lost bits. */
void gen_seen_after_owner(const ps_gen *g, const ps_file *f, struct stat *st) {
    const ps_opts *o = &g->c->o;
    bool uid = o->am_root && o->owner && st->st_uid != f->uid;
    bool gid = o->group && !(f->flags & PS_F_SKIP_GROUP) && st->st_gid != f->gid;
    if (o->dry_run || !(st->st_mode & (S_ISUID | S_ISGID)) || S_ISDIR(st->st_mode) || !(uid || gid)) return;
    if (uid) st->st_uid = f->uid;
    if (gid) st->st_gid = f->gid;
    if (st->st_mode & S_IXGRP) st->st_mode &= ~(mode_t)S_ISGID;
    st->st_mode &= ~(mode_t)S_ISUID;
}

static void unchanged(ps_gen *g, gen_item *it, struct stat *st, const char *partial) {
    const ps_opts *o = &g->c->o;
    if (partial) drop_partial(g, partial);
    int flags = g->attrs_report | (o->checksum ? PS_ATTRS_ACCURATE_TIME : 0);
    /* The common case says and sets nothing: not even the path is put together. */
    bool loud = flags && o->info_name >= 2, tweaked = o->am_daemon && g->c->chmod_count;
    if (loud || tweaked || o->checksum || (st->st_mode ^ it->f->mode) & GEN_MODE_BITS || !gen_same_attrs(g, it->f, st))
        attrs_set(g->c, it->dirfd, it->leaf, item_path(g, it), file_attrs(it->f), st, flags);
    gen_seen_after_owner(g, it->f, st);
    if (it->itemizing) gen_itemize(g, it, it->ndx, 0, st, 0, 0, NULL);
    if (gen_follows_links(g, it)) gen_finish_link(g, it, st, -1);
    if (o->remove_source_files == 1 && !o->dry_run) gen_send_success(g, it->ndx);
}

/* A file of a group without a leader and with names still to come waits: a later one may be up to date. */
static bool waits_for_group(ps_gen *g, gen_item *it) {
    if (!g->c->o.hard_links || g->routing || !hlink_not_last(it->f)) return false;
    it->f->flags |= PS_F_HLINK_WAITS;
    it->l->in_progress++;
    return true;
}

/* --inplace: the old data must be kept before the receiver changes it. */
static bool keeps_copy(const ps_gen *g, const basis *b) {
    const ps_opts *o = &g->c->o;
    return o->inplace && gen_backs_up(g) && b->there && b->type == PS_BASIS_FNAME && !o->dry_run;
}

void gen_regular(ps_gen *g, gen_item *it, int statret, int stat_errno, struct stat *st, gen_type have, u32 del_flags, u32 wire_mode) {
    const ps_opts *o = &g->c->o;
    char full[PS_FULL_FNAME], partial_buf[PS_LIMIT_NAME + 1];
    if (out_of_bounds(g, it) || destination_newer(g, it, statret, st)) return;
    if (statret == 0 && have != FT_REG) {
        if (gen_delete_item(g, item_path(g, it), st->st_mode, del_flags | DEL_FOR_FILE) != DR_SUCCESS) return;
        item_refresh(g, it);
        statret = -1;
        stat_errno = ENOENT;
    }
    basis b;
    b.type = PS_BASIS_FNAME;
    b.path = NULL;
    if (g->c->alt_count && (statret != 0 || o->alt_kind != PS_ALT_COPY)) {
        int j = gen_try_reg(g, it, b.buf, st, statret == 0);
        if (j == GEN_ALT_DONE) {
            /* --compare-dest has it, so it leads nobody. Not the last name: a later one that is made may take it along. */
            if (gen_follows_links(g, it) && (it->f->flags & (PS_F_HLINK_LAST | PS_F_HLINK_DONE)) == PS_F_HLINK_LAST)
                gen_skipped_link(g, it->l, it->f);
            if (o->remove_source_files == 1 && !o->dry_run) gen_send_success(g, it->ndx);
            return;
        }
        if (j >= 0) {
            b.path = b.buf;
            b.type = (u8)j;
            statret = 0;
        }
    }
    struct stat real = *st, partial_st;
    int real_ret = statret;
    const char *partial = NULL;
    if (out_partial_path(g->c, item_path(g, it), partial_buf) && partial_stat(g, partial_buf, &partial_st) == 0 && S_ISREG(partial_st.st_mode))
        partial = partial_buf;
    if (statret != 0 && !partial) {
        if (waits_for_group(g, it)) return;
        if (stat_errno != ENOENT) {
            gen_errno(g, stat_errno, "recv_generator: failed to stat %s", full_fname(g->c, item_path(g, it), full));
            return;
        }
    }
    if (statret == 0 && b.type == PS_BASIS_FNAME && gen_same_data(g, it, it->dirfd, it->leaf, st)) {
        unchanged(g, it, st, partial);
        return;
    }
    if (appends(g) && statret == 0 && st->st_size >= it->f->size) { /* nothing to add */
        if (item_hlinked(it)) gen_skipped_link(g, it->l, it->f);
        return;
    }
    if (partial) {
        *st = partial_st;
        b.type = PS_BASIS_PARTIAL_DIR;
        b.path = partial;
        statret = 0;
    }
    if (!b.path) b.path = item_path(g, it);
    b.there = statret == 0;
    b.size = st->st_size;
    int fd = -1;
    if (b.there && moves_data(o) && !g->whole_file && (fd = open_basis(g, it, &b)) < 0) {
        ps_log_errno(g->c, PS_LOG_ERROR, errno, "rsync: [generator] failed to open %s, continuing", full_fname(g->c, b.path, full));
        if (waits_for_group(g, it)) return;
        b.there = false;
        real_ret = -1;
    }
    if (keeps_copy(g, &b)) {
        int how = gen_copy_backup(g, b.path);
        if (how == GEN_BACKUP_FAILED || (how == GEN_BACKUP_NOTHING && waits_for_group(g, it))) {
            if (fd >= 0) close(fd);
            return;
        }
        item_refresh(g, it);
        if (how == GEN_BACKUP_NOTHING) {
            b.there = false;
            real_ret = -1;
        } else if (!g->whole_file) {
            b.type = PS_BASIS_BACKUP;
        }
    }
    request(g, it, &b, fd, real_ret, &real, wire_mode);
    if (fd >= 0) close(fd);
}
