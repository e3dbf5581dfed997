/* The generator's course: lists, phases, what files in progress hold up (generate_files, check_for_finished_files). */
#include "generator/generator_inner.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOKAHEAD 500          /* entries wanted before hard links are looked at: MIN_FILECNT_LOOKAHEAD / 2 */
#define STEP_ENTRIES 1024      /* that one step takes at most */
#define STEP_LEAST 256
#define LOG_HIGH_WATER (256u * 1024u)

/* ---- making and messages --------------------------------------------------------------------- */

/* generator.c:generate_files: from protocol 29 on the sender hears of what changes here, and its echo is shown; before, the
 * generator shows it itself. */
static void set_voice(ps_gen *g) {
    const ps_opts *o = &g->c->o;
    g->attrs_report = PS_ATTRS_REPORT;
    if (o->protocol >= 29) {
        g->itemizing = true;
        g->code = o->log_format_has_i ? GEN_NO_CODE : PS_LOG_LOG;
        if (o->stdout_format_has_i) g->attrs_report = 0;
    } else if (o->am_daemon) {
        g->itemizing = o->log_format_has_i && moves_data(o);
        g->code = g->itemizing || !moves_data(o) ? PS_LOG_CLIENT : PS_LOG_INFO;
    } else {
        g->itemizing = !o->am_server && o->stdout_format_has_i;
        g->code = g->itemizing ? GEN_NO_CODE : PS_LOG_INFO;
        if (g->itemizing) g->attrs_report = 0;
    }
}

ps_gen *gen_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *dest) {
    ps_gen *g = calloc(1, sizeof *g);
    if (!g || !(g->scratch = malloc(GEN_SCRATCH))) {
        free(g);
        ps_fail_memory(c, "the generator");
        return NULL;
    }
    const ps_opts *o = &c->o;
    g->c = c;
    g->all = all;
    g->rules = rules;
    g->root = dest;
    g->solo = ps_str(c, PS_STR_LOCAL_NAME);
    set_voice(g);
    g->whole_file = o->read_batch || (o->whole_file > 0 && !o->append); /* sums are of no use to a batch */
    g->dir_tweaking = !(o->list_only || g->solo || o->dry_run);
    g->retouch_times = o->times && !o->omit_dir_times;
    g->umask_perms = attrs_default_perms(c);
    g->default_perms = dest && !o->perms ? attrs_dir_perms(c, root_fd(dest)) : g->umask_perms;
    g->our_uid = geteuid();
    g->delete_mode = o->delete_mode;
    g->last_dir = UINT32_MAX;
    g->skip_depth = g->dry_depth = -1;
    struct stat st;
    if (dest && fstat(root_fd(dest), &st) == 0) g->filesystem_dev = st.st_dev;
    return g;
}

void gen_free(ps_gen *g) {
    if (!g) return;
    if (g->have_hasher) block_hasher_free(&g->hasher);
    if (g->sum) sum_free(g->sum);
    ps_buf *bufs[] = {&g->request, &g->prior_dir, &g->fresh_dir, &g->delayed, &g->block_sums};
    for (size_t i = 0; i < sizeof bufs / sizeof *bufs; i++) buf_free(bufs[i]);
    free(g->redo.items);
    free(g->links.items);
    free(g->successes.items);
    free(g->classic.items);
    free(g->wanted.items);
    free(g->jobs);
    free(g->top_devs);
    free(g->scratch);
    root_free(g->backup_root);
    gen_kids_free(&g->kids);
    free(g);
}

void gen_use_sums_ahead(ps_gen *g, const ps_sums_ahead *e) { g->sums_ahead = e; }

bool gen_fail_memory(ps_gen *g) {
    ps_fail_memory(g->c, "the generator");
    g->failed = true;
    return true;
}

void gen_errno(ps_gen *g, int err, const char *fmt, ...) {
    char text[2 * PS_FULL_FNAME];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    ps_log_errno(g->c, PS_LOG_ERROR_XFER, err, "rsync: [generator] %s", text);
}

/* ---- queues ----------------------------------------------------------------------------------- */

bool queue_push(ndx_queue *q, i32 ndx) {
    if (q->count == q->cap) {
        size_t live = q->count - q->head;
        if (q->head > live) {
            memmove(q->items, q->items + q->head, live * sizeof *q->items);
        } else {
            size_t cap = q->cap ? q->cap * 2 : 64;
            i32 *grown = realloc(q->items, cap * sizeof *grown);
            if (!grown) return false;
            memmove(grown, grown + q->head, live * sizeof *grown);
            q->items = grown;
            q->cap = cap;
        }
        q->head = 0;
        q->count = live;
    }
    q->items[q->count++] = ndx;
    return true;
}

bool queue_pop(ndx_queue *q, i32 *ndx) {
    if (q->head == q->count) {
        q->head = q->count = 0;
        return false;
    }
    *ndx = q->items[q->head++];
    return true;
}

/* ---- lists ------------------------------------------------------------------------------------ */

ps_flist *gen_list_for(const ps_gen *g, i32 ndx) {
    for (ps_flist *l = g->first; l; l = l->next) {
        if (ndx < l->ndx_start) return NULL;
        if (ndx - l->ndx_start < (i32)l->count) return l;
    }
    return NULL;
}

static void adopt_first_list(ps_gen *g) {
    if (g->state != GEN_START || g->first || !g->all->first) return;
    ps_flist *l = g->first = g->cur = g->all->first;
    /* The destination itself was made after its entry had been copied. */
    if (!l->count || !(l->files[l->low].flags & PS_F_DIR_CREATED)) return;
    for (u32 i = 0; i < g->all->dir_entry_count; i++)
        if (g->all->dir_entries[i].list_ndx == l->ndx_start + (i32)l->low) g->all->dir_entries[i].file.flags |= PS_F_DIR_CREATED;
}

/* Lists that the sender is through with go, but for those that still have files in the swarm. */
static void drop_lists(ps_gen *g) {
    ps_flist *l;
    while ((l = g->all->first) && l->answered && !l->in_swarm) {
        if (g->kids.list == l) g->kids.list = NULL;
        flists_drop_first(g->all);
    }
}

int gen_first_list_done(ps_gen *g) {
    ps_flist *l = g->all->first;
    while (l && l->answered) l = l->next;
    if (!l || !l->done_sent) return ps_fail(g->c, 12, 0, "the sender ended a file list that is still in use (protocol error)");
    l->answered = true;
    drop_lists(g);
    return PS_OK;
}

static void touch_parent(ps_gen *g, const ps_flist *l) {
    if (g->delete_mode == PS_DELETE_DELAY || !g->dir_tweaking) return; /* all of them at the end, or never */
    if (l->parent_ndx < 0 || l->parent_ndx >= (i32)g->all->dir_entry_count) return;
    gen_touch_up(g, gen_dir_list(g), &g->all->dir_entries[l->parent_ndx].file);
}

void gen_join_swarm(ps_gen *g, ps_flist *l, ps_file *f) {
    f->flags |= PS_F_SWARM;
    l->in_swarm++;
    g->swarm_open++;
}

/* Its list may have ended long ago; its directory has a new time then. */
void gen_leave_swarm(ps_gen *g, ps_flist *l, ps_file *f) {
    f->flags &= (u16)~PS_F_SWARM;
    g->swarm_open--;
    if (--l->in_swarm || !l->done_sent) return;
    if (g->c->o.inc_recurse) touch_parent(g, l);
    drop_lists(g);
}

static int swarm_settled(ps_gen *g, ps_flist *l, ps_file *f, i32 ndx, ps_settled how) {
    if (g->c->o.hard_links && f->flags & PS_F_HLINKED) {
        if (how == PS_SETTLED_OK)
            gen_finish_swarm_link(g, l, f, ndx);
        else
            gen_lose_links(g, l, f, ndx);
    }
    gen_leave_swarm(g, l, f);
    return g->failed ? PS_FAIL : PS_OK;
}

int gen_settled(ps_gen *g, i32 ndx, ps_settled how) {
    ps_flist *l;
    ps_file *f = flists_file(g->all, ndx, &l);
    const ps_opts *o = &g->c->o;
    if (!f) return ps_fail(g->c, 2, 0, "File-list index %d is not in the file list", ndx);
    if (gen_in_swarm(f)) return swarm_settled(g, l, f, ndx, how);
    if (l->done_sent) return PS_OK; /* sent unasked, after the end of its list: nothing waits for it */
    if (o->remove_source_files) {
        g->active_count--;
        g->active_bytes -= f->size;
    }
    bool ok = true;
    if (o->inc_recurse) l->in_progress--;
    if (how == PS_SETTLED_REDO) {
        f->flags |= PS_F_REDO;
        if (o->inc_recurse) l->to_redo++;
        ok = queue_push(&g->redo, ndx);
    } else {
        if (how == PS_SETTLED_OK && o->remove_source_files && !o->only_write_batch) ok = queue_push(&g->successes, ndx);
        if (o->hard_links && f->flags & PS_F_HLINKED) {
            if (how != PS_SETTLED_OK) ok = ok && queue_push(&g->links, -2); /* a failure follows */
            ok = ok && queue_push(&g->links, ndx);
            if (o->inc_recurse) l->in_progress++;
        }
    }
    return ok ? PS_OK : ps_fail_memory(g->c, "the generator");
}

bool gen_in_swarm(const ps_file *f) { return S_ISREG(f->mode) && f->flags & PS_F_SWARM; }

/* The swarm holds pointers to the entries of its files: were the sender to end one, their list could go before the swarm. */
int gen_settled_by_sender(ps_gen *g, i32 ndx, ps_settled how) {
    const ps_file *f = flists_file(g->all, ndx, NULL);
    if (f && gen_in_swarm(f)) return ps_fail(g->c, 2, 0, "the sender answers for file %d, which it was not asked for", ndx);
    return gen_settled(g, ndx, how);
}

void gen_phase_ended(ps_gen *g) { g->phases_ended++; }
int gen_phase(const ps_gen *g) { return g->phase; }

bool gen_in_redo(const ps_gen *g, i32 ndx) {
    const ps_file *f = flists_file(g->all, ndx, NULL);
    return f && f->flags & PS_F_REDO;
}

void gen_send_success(ps_gen *g, i32 ndx) {
    if (!queue_push(&g->successes, ndx)) gen_fail_memory(g);
}

static void finish_link(ps_gen *g) {
    i32 ndx;
    if (!queue_pop(&g->links, &ndx)) return;
    bool failed = ndx == -2;
    if (failed && !queue_pop(&g->links, &ndx)) return;
    ps_flist *l = gen_list_for(g, ndx);
    if (!l) return;
    ps_file *f = &l->files[ndx - l->ndx_start];
    if (failed) {
        gen_skipped_link(g, l, f);
    } else {
        gen_item it;
        item_init(g, &it, l, f, ndx);
        gen_finish_link(g, &it, NULL, -1);
    }
    l->in_progress--;
}

static void redo_file(ps_gen *g, i32 ndx) {
    ps_flist *l = gen_list_for(g, ndx), *cur = g->cur;
    if (!l) return;
    g->redoing = true;
    g->cur = l;
    gen_entry(g, l, &l->files[ndx - l->ndx_start], ndx, false);
    g->cur = cur;
    g->redoing = false;
    l->to_redo--;
}

static void route_files(ps_gen *g) {
    i32 ndx;
    while (!g->failed && queue_pop(&g->classic, &ndx)) {
        ps_flist *l = gen_list_for(g, ndx);
        if (!l) continue;
        ps_file *f = &l->files[ndx - l->ndx_start];
        f->flags &= (u16)~PS_F_FILE_SENT;
        g->routing = true;
        gen_entry(g, l, f, ndx, false);
        g->routing = false;
        /* It may have become up to date meanwhile, or something that cannot be replaced. */
        bool leads = g->c->o.hard_links && f->flags & PS_F_HLINKED;
        if (leads && !(f->flags & (PS_F_FILE_SENT | PS_F_HLINK_DONE | PS_F_SKIP_HLINK))) gen_lose_links(g, l, f, ndx);
        if (g->c->o.inc_recurse) l->in_progress--; /* the queue's own; the request has taken another */
    }
}

/* io.c:send_msg_success: in a local copy the sender must know what file it is, lest it removes the copy itself. (rsync looks through
 * a symlink here, and so removes it.) */
static bool put_file_id(ps_gen *g, i32 ndx, ps_buf *b) {
    gen_item it;
    ps_flist *l;
    struct stat st;
    ps_file *f = flists_file(g->all, ndx, &l);
    if (!g->c->o.local) return true;
    bool found = false;
    if (f) {
        item_init(g, &it, l, f, ndx);
        found = it.dirfd >= 0 && fstatat(it.dirfd, it.leaf, &st, AT_SYMLINK_NOFOLLOW) == 0;
    }
    return buf_u64(b, found ? (u64)st.st_dev : 0) && buf_u64(b, found ? (u64)st.st_ino : 0);
}

static void put_successes(ps_gen *g) {
    i32 ndx;
    ps_buf b = {0};
    while (queue_pop(&g->successes, &ndx)) {
        buf_clear(&b);
        bool ok = buf_i32(&b, ndx) && put_file_id(g, ndx, &b) && mux_out_message(g->out, PS_MSG_SUCCESS, buf_head(&b), (u32)buf_used(&b));
        if (!ok) gen_fail_memory(g);
    }
    buf_free(&b);
}

void gen_finish_lists(ps_gen *g, bool redo) {
    i32 ndx;
    while (!g->failed) {
        if (g->links.head != g->links.count) {
            finish_link(g);
            continue;
        }
        if (redo && queue_pop(&g->redo, &ndx)) {
            redo_file(g, ndx);
            continue;
        }
        ps_flist *l = g->first;
        if (!l || g->cur == l || l->in_progress || l->to_redo) return;
        put_successes(g); /* the sender knows the list's files only until then */
        gen_put_ndx(g, PS_NDX_DONE);
        if (!l->in_swarm) touch_parent(g, l);
        l->done_sent = true;
        g->first = l->next;
    }
}

/* ---- reading a batch --------------------------------------------------------------------------- */

bool gen_next_wanted(ps_gen *g, i32 most, i32 *ndx) {
    if (g->wanted.head == g->wanted.count || g->wanted.items[g->wanted.head] > most) return false;
    return queue_pop(&g->wanted, ndx);
}

bool gen_is_past(const ps_gen *g, i32 ndx) {
    if (g->phase) return true;
    if (g->state == GEN_START || g->state == GEN_DELETE_BEFORE || !g->cur) return false;
    u32 through = g->state == GEN_LIST_END ? g->cur->count : g->state == GEN_LIST_FILES ? g->at : 0;
    return ndx < g->cur->ndx_start + (i32)through;
}

int gen_press_on(ps_gen *g, ps_mux_out *out, ps_ndx_state *ndx) {
    g->pressed = true;
    int status = gen_step(g, out, ndx);
    g->pressed = false;
    return status;
}

/* ---- the swarm's seam ------------------------------------------------------------------------- */

const ps_gen_job *gen_jobs(const ps_gen *g, size_t *count) {
    *count = g->job_count;
    return g->jobs;
}

void gen_jobs_taken(ps_gen *g) { g->job_count = 0; }

static ps_file *undecided_file(ps_gen *g, i32 ndx, ps_flist **list) {
    ps_file *f = flists_file(g->all, ndx, list);
    if (!f || (*list)->done_sent || !g->undecided) {
        ps_fail(g->c, 13, 0, "file-list index %d waits for no route", ndx);
        return NULL;
    }
    g->undecided--;
    return f;
}

int gen_route_classic(ps_gen *g, i32 ndx) {
    ps_flist *l;
    if (!undecided_file(g, ndx, &l)) return PS_FAIL;
    return queue_push(&g->classic, ndx) ? PS_OK : ps_fail_memory(g->c, "the generator");
}

int gen_route_swarm(ps_gen *g, i32 ndx) {
    ps_flist *l;
    ps_file *f = undecided_file(g, ndx, &l);
    if (!f) return PS_FAIL;
    gen_join_swarm(g, l, f);
    if (g->c->o.inc_recurse) l->in_progress--;
    if (g->c->o.hard_links && f->flags & PS_F_HLINKED) gen_links_join_swarm(g, l, f);
    return PS_OK;
}

/* ---- course ----------------------------------------------------------------------------------- */

static bool early_delay_done(const ps_gen *g) { return !g->c->o.delay_updates; }
static bool early_delete_done(const ps_gen *g) { return g->delete_mode != PS_DELETE_DELAY && g->delete_mode != PS_DELETE_AFTER; }
static bool deletes_during(const ps_gen *g) { return g->delete_mode == PS_DELETE_DURING || g->delete_mode == PS_DELETE_DELAY; }

static void put_del_stats(ps_gen *g) {
    const ps_stats *s = &g->c->stats;
    if (!g->delete_mode && !g->c->o.force_delete) return;
    gen_put_ndx(g, PS_NDX_DEL_STATS);
    u8 room[64];
    ps_buf b = {.data = room, .cap = sizeof room};
    buf_varint(&b, s->deleted_files - s->deleted_dirs - s->deleted_symlinks - s->deleted_devices - s->deleted_specials);
    buf_varint(&b, s->deleted_dirs);
    buf_varint(&b, s->deleted_symlinks);
    buf_varint(&b, s->deleted_devices);
    buf_varint(&b, s->deleted_specials);
    gen_put(g, room, b.len);
}

static bool outputs_full(const ps_gen *g) {
    return mux_out_used(g->out) >= PS_SEND_HIGH_WATER || buf_used(&g->c->log) >= LOG_HIGH_WATER || ps_events_full(g->c);
}

/* --remove-source-files: few files are under way at a time, so that the sender removes as it goes. */
static bool too_many_active(const ps_gen *g) {
    if (!g->c->o.remove_source_files || g->c->o.delay_updates || g->phase || g->c->o.dry_run) return false;
    if (g->c->o.protocol < 30) return false; /* the sender does not say which files it could not send: they would count forever */
    return g->active_count >= (g->active_bytes >= 128 * 1024 ? 10 : 50);
}

static bool enough_ahead(const ps_gen *g) {
    if (!g->c->o.hard_links || !g->c->o.inc_recurse || g->all->eof || g->pressed) return true;
    u64 entries = 0;
    for (const ps_flist *l = g->first; l && entries < LOOKAHEAD; l = l->next) entries += l->count;
    return entries >= LOOKAHEAD;
}

/* The directory whose contents the current list is: made or compared in full, and what is not in the list deleted from it. */
static void begin_list(ps_gen *g) {
    ps_flists *all = g->all;
    i32 parent = g->cur->parent_ndx;
    g->at = g->cur->low;
    g->state = GEN_LIST_FILES;
    if (!g->c->o.inc_recurse || parent < 0 || parent >= (i32)all->dir_entry_count) return;
    ps_flist *dirs = gen_dir_list(g);
    ps_file *f = &all->dir_entries[parent].file;
    g->dir_dev = 0; /* with -x nothing is deleted where something else has the directory's place and is kept (--ignore-existing) */
    gen_entry(g, dirs, f, g->cur->ndx_start - 1, true);
    if (!deletes_during(g) || g->c->o.dry_run > 1 || g->c->o.list_only || f->flags & PS_F_MISSING_DIR) return;
    gen_item it;
    item_init(g, &it, dirs, f, g->cur->ndx_start - 1);
    const char *path = item_path(g, &it);
    if (f->flags & PS_F_CONTENT_DIR)
        gen_delete_in_dir(g, path, f, it.depth, all->dir_entries[parent].self, g->dir_dev);
    else
        gen_change_filter_dir(g, path, it.depth);
}

/* rsync's sender makes new lists only once it hears that old ones are through, about 1000 entries ahead: a generator that goes
 * through all that it has before anything is sent makes the two of them work in turns. */
static void begin_step(ps_gen *g) {
    u64 waiting = g->cur ? g->all->last->through - g->cur->through + (g->cur->high - g->at) : 0;
    u64 part = waiting / 4;
    g->step_left = part < STEP_LEAST ? STEP_LEAST : part > STEP_ENTRIES ? STEP_ENTRIES : (u32)part;
    g->hashed = 0;
}

static bool step_is_over(ps_gen *g) { return g->hashed >= PS_HASH_STEP || !g->step_left--; }

static int list_files(ps_gen *g) {
    ps_flist *l = g->cur;
    for (; g->at < l->high; g->at++) {
        ps_file *f = &l->files[g->at];
        if (!file_active(f)) continue;
        if (too_many_active(g)) {
            gen_finish_lists(g, false);
            if (too_many_active(g)) return PS_AGAIN;
        }
        if (outputs_full(g)) return PS_FULL;
        if (step_is_over(g)) return PS_OK;
        gen_entry(g, l, f, l->ndx_start + (i32)g->at, false);
        gen_finish_lists(g, false);
        if (g->failed) return PS_FAIL;
    }
    if (g->c->o.inc_recurse) {
        g->state = GEN_LIST_END;
    } else {
        if (g->undecided) return PS_AGAIN;
        gen_put_ndx(g, PS_NDX_DONE);
        g->state = GEN_WAIT_PHASE;
        if (deletes_during(g)) gen_delete_leave(g);
        g->phase++;
    }
    return PS_OK;
}

static int end_list(ps_gen *g) {
    gen_finish_lists(g, true);
    if (g->cur->next) {
        g->cur = g->cur->next;
        g->state = GEN_LIST_BEGIN;
        return PS_OK;
    }
    if (!g->all->eof) return PS_AGAIN;
    g->cur = NULL;
    if (deletes_during(g)) gen_delete_leave(g);
    g->phase++;
    g->state = GEN_WAIT_PHASE;
    return PS_OK;
}

/* After the first phase and its redone files: the NDX_DONEs that need not wait are written together. */
static int end_redo(ps_gen *g) {
    gen_finish_lists(g, true);
    if (!g->phases_ended) return PS_AGAIN;
    int protocol = g->c->o.protocol;
    g->phase++;
    gen_put_ndx(g, PS_NDX_DONE);
    if (protocol >= 29 && early_delay_done(g)) gen_put_ndx(g, PS_NDX_DONE);
    if (protocol >= 31 && early_delete_done(g)) {
        put_del_stats(g);
        if (early_delay_done(g)) gen_put_ndx(g, PS_NDX_DONE);
    }
    g->state = GEN_WAIT_REDO;
    return PS_OK;
}

static int end_delayed(ps_gen *g) {
    gen_finish_lists(g, false);
    if (g->phases_ended < 2) return PS_AGAIN;
    if (g->c->o.protocol < 29) {
        g->at = 0;
        g->state = GEN_DELETE_LATE;
        return PS_OK;
    }
    g->phase++;
    if (!early_delay_done(g)) {
        gen_put_ndx(g, PS_NDX_DONE);
        if (g->c->o.protocol >= 31 && early_delete_done(g)) gen_put_ndx(g, PS_NDX_DONE);
    }
    g->state = GEN_WAIT_DELAYED;
    return PS_OK;
}

/* true: all is deleted that is to be deleted late. */
static bool delete_late(ps_gen *g) {
    if (g->delete_mode == PS_DELETE_DELAY) gen_delete_delayed(g);
    if (g->delete_mode == PS_DELETE_AFTER && !g->solo && g->all->first && !gen_delete_pass(g)) return false;
    if (g->c->o.max_delete >= 0 && g->skipped_deletes) {
        ps_log(g->c, PS_LOG_WARNING, "Deletions stopped due to --max-delete limit (%d skipped)\n", g->skipped_deletes);
        g->c->io_error |= PS_IOERR_DEL_LIMIT;
    }
    return true;
}

static void tell_late_deletes(ps_gen *g) {
    if (g->c->o.protocol < 31 || early_delete_done(g)) return;
    put_del_stats(g);
    gen_put_ndx(g, PS_NDX_DONE);
}

/* Directory times and modes that the run has changed; goes on from g->at. */
static bool touch_up_all(ps_gen *g) {
    bool incremental = g->c->o.inc_recurse;
    if ((!g->retouch_perms && !g->retouch_times) || !g->dir_tweaking) return true;
    if (incremental && g->delete_mode != PS_DELETE_DELAY) return true;
    ps_flist *l = incremental ? gen_dir_list(g) : g->all->first;
    u32 end = incremental ? g->all->dir_entry_count : l ? l->count : 0;
    for (u32 done = 0; g->at < end; g->at++) {
        if (gen_touch_up(g, l, incremental ? &g->all->dir_entries[g->at].file : &l->files[g->at]) && ++done == STEP_ENTRIES)
            return false;
    }
    return true;
}

static void begin_lists(ps_gen *g) {
    if (g->c->o.verbose >= 2)
        ps_log(g->c, PS_LOG_INFO, "delta-transmission %s\n", g->whole_file ? "disabled for local transfer or --whole-file" : "enabled");
    g->state = GEN_LIST_BEGIN;
}

static int advance(ps_gen *g) {
    switch (g->state) {
    case GEN_START:
        if (!g->cur) return PS_AGAIN;
        g->at = 0;
        if (g->delete_mode == PS_DELETE_BEFORE && !g->solo && g->cur->count)
            g->state = GEN_DELETE_BEFORE;
        else
            begin_lists(g);
        return PS_OK;
    case GEN_DELETE_BEFORE:
        if (gen_delete_pass(g)) begin_lists(g);
        return PS_OK;
    case GEN_LIST_BEGIN:
        if (!enough_ahead(g)) return PS_AGAIN;
        begin_list(g);
        return PS_OK;
    case GEN_LIST_FILES: return list_files(g);
    case GEN_LIST_END: return end_list(g);
    case GEN_WAIT_PHASE: return end_redo(g);
    case GEN_WAIT_REDO: return end_delayed(g);
    case GEN_WAIT_DELAYED:
        if (g->phases_ended == 2) return PS_AGAIN;
        g->at = 0;
        g->state = GEN_DELETE_LATE;
        return PS_OK;
    case GEN_DELETE_LATE:
        /* The session does not wait for the swarm: what has to be done after it follows the goodbye. */
        g->swarm_first = g->swarm_open > 0;
        if (!g->swarm_first && !delete_late(g)) return PS_OK;
        tell_late_deletes(g);
        g->state = GEN_WAIT_DELETED;
        return PS_OK;
    case GEN_WAIT_DELETED:
        if (g->c->o.protocol >= 31 && g->phases_ended == 3) return PS_AGAIN;
        g->at = 0;
        g->state = g->swarm_first ? GEN_SWARM : GEN_TOUCH_UP;
        if (g->swarm_first) gen_put_ndx(g, PS_NDX_DONE); /* the goodbye */
        return PS_OK;
    case GEN_SWARM:
        if (g->swarm_open) return PS_AGAIN;
        if (!delete_late(g)) return PS_OK;
        g->at = 0;
        g->state = GEN_TOUCH_UP;
        return PS_OK;
    case GEN_TOUCH_UP:
        if (!touch_up_all(g)) return PS_OK;
        if (!g->swarm_first) gen_put_ndx(g, PS_NDX_DONE);
        g->state = GEN_DONE;
        return PS_DONE;
    case GEN_DONE: return PS_DONE;
    }
    return PS_DONE;
}

int gen_step(ps_gen *g, ps_mux_out *out, ps_ndx_state *ndx) {
    if (g->failed) return PS_FAIL;
    g->out = out;
    g->ndx_out = ndx;
    adopt_first_list(g);
    put_successes(g);
    route_files(g);
    begin_step(g);
    gen_state before;
    int status;
    do { /* a change of state alone is no work: go on to the next */
        if (outputs_full(g)) return PS_FULL;
        before = g->state;
        status = advance(g);
        if (g->failed) return PS_FAIL;
    } while (status == PS_OK && g->state != before);
    put_successes(g);
    return g->failed ? PS_FAIL : status;
}
