/* The end of an output file: its attributes and its name, --partial and --partial-dir, delayed updates. */
#include "output/output_inner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* Where a finished or partial file goes: its final name or the one in --partial-dir. */
typedef struct target {
    int dir;
    bool own;             /* dir is ours to close */
    const char *name;
    const char *shown;
} target;

static bool target_open(ps_outs *o, const char *path, bool partial, target *t) {
    t->shown = path;
    t->own = partial;
    if (partial)
        t->dir = out_partial_dir_fd(o, path, &t->name);
    else
        t->dir = root_parent(o->root, path, &t->name);
    return t->dir >= 0;
}

/* --temp-dir on another file system: the bytes go to a temporary file beside the target, which is then renamed. */
static int copy_across(ps_out *out, const target *t) {
    ps_outs *o = out->outs;
    char name[NAME_MAX + 1];
    size_t at = 0;
    name[at++] = '.';
    size_t n = strnlen(t->name, NAME_MAX - OUT_SUFFIX_LEN - 2);
    memcpy(name + at, t->name, n);
    memcpy(name + at + n, ".XXXXXX", OUT_SUFFIX_LEN + 1);
    int copy = out_create_temp(o, t->dir, name, at + n + 1, (out->file->mode & 0700) | S_IWUSR);
    if (copy < 0) return PS_FAIL;
    int old = out->fd, status = PS_OK, err = 0;
    out->fd = copy;
    ps_pieces *pieces = out->pieces;
    out->pieces = NULL;
    struct stat st;
    if (fstat(old, &st) < 0 || out_copy(out, 0, st.st_size, old, 0) != PS_OK) {
        status = PS_FAIL;
        err = errno ? errno : EIO;
    } else if (o->c->o.sparse && ftruncate(copy, st.st_size) < 0) {
        status = PS_FAIL;
        err = errno;
    }
    out->fd = old;
    out->pieces = pieces;
    if (status == PS_OK && fstat(copy, &st) == 0)
        attrs_set_open(o->c, copy, t->shown, file_attrs(out->file), &st, PS_ATTRS_ACCURATE_TIME);
    close(copy);
    if (status == PS_OK && renameat(t->dir, name, t->dir, t->name) < 0) {
        status = PS_FAIL;
        err = errno;
    }
    if (status != PS_OK) unlinkat(t->dir, name, 0);
    errno = err;
    return status;
}

static void remove_temp(ps_out *out) {
    if (!place_is_temporary(out->place)) return;
    int dir = out_temp_dir_fd(out);
    if (dir >= 0) unlinkat(dir, out->temp, 0);
}

/* The old file is kept, once: with --partial alone the first, failed try has already put its bytes in the old file's place. */
static bool back_up(ps_out *out, const char *path) {
    ps_outs *o = out->outs;
    if (!o->backup || (out->file->flags & PS_F_REDO && o->c->o.partial && !ps_str(o->c, PS_STR_PARTIAL_DIR))) return true;
    if (o->backup(o->backup_owner, path)) return true;
    char shown[PS_FULL_FNAME];
    ps_fail(o->c, 11, errno, "the backup of %s cannot be made", full_fname(o->c, path, shown));
    return false;
}

/* rsync.c:finish_transfer: attributes, then the name. false: logged, and the temporary file is gone. */
static bool put_in_place(ps_out *out, const char *path, bool to_partial, int attr_flags) {
    ps_outs *o = out->outs;
    char shown[PS_FULL_FNAME], temp[OUT_TEMP_PATH], partial[PS_LIMIT_NAME + 1];
    struct stat st;
    const char *from = out->temp;
    int from_dir, own_from = -1;
    if (!to_partial && !back_up(out, path)) {
        remove_temp(out);
        return false;
    }
    if (out->place == IN_PARTIAL_DIR) {
        out_partial_path(o->c, out->path, partial);
        from_dir = own_from = out_partial_dir_fd(o, partial, &from);
    } else {
        from_dir = out_temp_dir_fd(out);
        /* The target's directory may push this one out of the root's cache. */
        if (from_dir >= 0 && to_partial) from_dir = own_from = fcntl(from_dir, F_DUPFD_CLOEXEC, 3);
    }
    target t = {.dir = -1};
    bool ok = false, same_file = out->place == IN_PARTIAL_DIR && to_partial;
    if (from_dir >= 0 && target_open(o, path, to_partial, &t) && fstat(out->fd, &st) == 0) {
        attrs_set_open(o->c, out->fd, out_temp_path(out, temp), file_attrs(out->file), &st, attr_flags);
        ok = same_file || renameat(from_dir, from, t.dir, t.name) == 0;
        if (!ok && errno == EXDEV) {
            ok = copy_across(out, &t) == PS_OK;
            if (ok) unlinkat(from_dir, from, 0);
        }
    }
    int err = errno;
    if (!ok) {
        ps_log_errno(o->c, PS_LOG_ERROR_XFER, err, "rsync: [receiver] %s %s -> \"%s\"", err == EXDEV ? "copy" : "rename",
                     out_temp_shown(out, shown), path);
        if (from_dir >= 0 && out->place != IN_PARTIAL_DIR) {
            target p = {.dir = -1};
            bool kept = !to_partial && o->c->o.partial && out_partial_path(o->c, out->path, partial) &&
                        out_partial_dir_make(o, partial) && target_open(o, partial, true, &p) &&
                        renameat(from_dir, from, p.dir, p.name) == 0;
            if (!kept) unlinkat(from_dir, from, 0);
            if (p.dir >= 0 && p.own) close(p.dir);
        }
    }
    if (t.dir >= 0 && t.own) close(t.dir);
    if (own_from >= 0) close(own_from);
    return ok;
}

static bool delay(ps_outs *o, i32 ndx, const char *path) {
    if (o->later_count == o->later_cap) {
        u32 cap = o->later_cap ? o->later_cap * 2 : 64;
        delayed *grown = realloc(o->later, cap * sizeof *grown);
        if (!grown) return false;
        o->later = grown;
        o->later_cap = cap;
    }
    u32 at = arena_put(&o->later_paths, path, strlen(path));
    if (at == PS_NO_OFFSET) return false;
    o->later[o->later_count++] = (delayed){ndx, at};
    return true;
}

/* Keeps the file in --partial-dir, or with plain --partial under its final name. */
static bool keep(ps_out *out, const char *partial, bool verified, int attr_flags) {
    ps_outs *o = out->outs;
    if (!*partial) return put_in_place(out, out->path, false, attr_flags);
    if (out_partial_dir_make(o, partial)) return put_in_place(out, partial, true, attr_flags);
    ps_log(o->c, PS_LOG_ERROR_XFER, "Unable to create partial-dir for %s -- discarding %s.\n", out->path,
           verified ? "completed file" : "partial file");
    remove_temp(out);
    return false;
}

bool out_is_plain(const ps_out *out) {
    const ps_outs *o = out->outs;
    return out->place == IN_FINAL_DIR && !o->backup && !o->c->o.sparse && !o->c->o.delay_updates && !out->pieces;
}

ps_out_result out_finish(ps_out *out, i64 size, bool verified, bool from_partial) {
    ps_outs *o = out->outs;
    const ps_opts *opt = &o->c->o;
    ps_out_result result = verified ? PS_OUT_DONE : PS_OUT_BAD;
    char partial[PS_LIMIT_NAME + 1], shown[PS_FULL_FNAME];
    bool has_partial = out_partial_path(o->c, out->path, partial) > 0;
    if (!has_partial) partial[0] = 0;
    if ((opt->sparse || !place_is_temporary(out->place)) && ftruncate(out->fd, size) < 0)
        ps_log_errno(o->c, PS_LOG_ERROR_XFER, errno, "rsync: [receiver] ftruncate failed on %s", full_fname(o->c, out->path, shown));
    int attr_flags = verified ? PS_ATTRS_ACCURATE_TIME : PS_ATTRS_SKIP_MTIME;
    if (out->place == IN_PLACE) {
        struct stat st;
        if (fstat(out->fd, &st) == 0) attrs_set_open(o->c, out->fd, out->path, file_attrs(out->file), &st, attr_flags);
        out_give_back(out);
        return result;
    }
    bool can_keep = opt->partial && (has_partial || !ps_str(o->c, PS_STR_PARTIAL_DIR));
    if (verified && !(opt->delay_updates && has_partial)) {
        if (!put_in_place(out, out->path, false, attr_flags)) {
            result = PS_OUT_FAILED;
        } else if (from_partial && has_partial) {
            if (out->place != IN_PARTIAL_DIR) out_partial_unlink(o, partial);
            out_partial_dir_remove(o, partial);
        }
    } else if (can_keep && (out->place != IN_PARTIAL_DIR || opt->delay_updates)) {
        if (!keep(out, partial, verified, attr_flags)) {
            result = PS_OUT_FAILED;
        } else if (opt->delay_updates && verified) {
            result = PS_OUT_DELAYED;
            if (!delay(o, out->ndx, out->path)) {
                ps_fail_memory(o->c, "the delayed updates");
                result = PS_OUT_FAILED;
            }
        }
    } else {
        remove_temp(out);
    }
    out_give_back(out);
    return result;
}

void out_abort(ps_out *out, bool may_keep) {
    ps_outs *o = out->outs;
    char partial[PS_LIMIT_NAME + 1];
    bool has_partial = out_partial_path(o->c, out->path, partial) > 0;
    if (!has_partial) partial[0] = 0;
    bool keeps = may_keep && out->place != IN_PLACE && out->got_data && o->c->o.partial && (has_partial || !ps_str(o->c, PS_STR_PARTIAL_DIR));
    if (!keeps) {
        remove_temp(out);
        out_give_back(out);
        return;
    }
    /* Under the final name only what is verified; in --partial-dir the file is its own map. */
    if (out->pieces && !has_partial && ftruncate(out->fd, (off_t)pieces_prefix(out->pieces)) < 0) out->got_data = false;
    if (out->place != IN_PARTIAL_DIR) {
        int flags = PS_ATTRS_SKIP_MTIME;
        if (!has_partial) { /* a time of today would make --update skip it */
            out->file->mtime = 0;
            out->file->mtime_ns = 0;
            flags = PS_ATTRS_ACCURATE_TIME;
        }
        keep(out, partial, false, flags);
    }
    out_give_back(out);
}

void outs_abort_all(ps_outs *o) {
    while (o->first) out_abort(o->first, true);
}

void outs_finish_delayed(ps_outs *o, void (*done)(void *owner, i32 ndx, bool ok), void *owner) {
    char partial[PS_LIMIT_NAME + 1], shown[PS_FULL_FNAME];
    for (u32 i = 0; i < o->later_count; i++) {
        const char *path = arena_at(&o->later_paths, o->later[i].path), *from, *to;
        if (!out_partial_path(o->c, path, partial)) {
            done(owner, o->later[i].ndx, false);
            continue;
        }
        if (o->backup && !o->backup(o->backup_owner, path)) {
            done(owner, o->later[i].ndx, false);
            continue;
        }
        int dir = out_partial_dir_fd(o, partial, &from), final = -1;
        if (dir >= 0) final = root_parent(o->root, path, &to);
        bool ok = dir >= 0 && final >= 0 && renameat(dir, from, final, to) == 0;
        if (!ok)
            ps_log_errno(o->c, PS_LOG_ERROR_XFER, errno, "rsync: [receiver] rename failed for %s (from %s)",
                         full_fname(o->c, path, shown), partial);
        done(owner, o->later[i].ndx, ok);
        if (dir >= 0) close(dir);
        out_partial_dir_remove(o, partial);
    }
    o->later_count = 0;
    o->later_paths.len = 0;
}
