/* Reading a batch: a sender's data comes from a file that may have been made for another copy. What of it is used, the generator
 * says as it goes (receiver.c:gen_wants_ndx, we_want_redo, no_batched_update). */
#include "receiver/receiver_inner.h"

void recv_read_batch(ps_recv *r, ps_mux_out *out, ps_ndx_state *ndx_out) {
    r->out_unheard = out;
    r->ndx_unheard = ndx_out;
}

static int no_update(ps_recv *r, i32 ndx, bool resend) {
    ps_flist *l;
    const ps_file *f = flists_file(r->all, ndx, &l);
    char path[PS_LIMIT_NAME + 1];
    if (!f) return PS_OK;
    file_path(r->all, l, f, path);
    ps_log(r->c, PS_LOG_ERROR_XFER, "(No batched update for%s \"%s\")\n", resend ? " resend of" : "", path);
    return r->c->o.dry_run ? PS_OK : gen_settled(r->gen, ndx, PS_SETTLED_NO_SEND);
}

/* Lets the generator go on. PS_FULL: the caller is to come again; PS_AGAIN: it waits for what comes next in the batch. */
static int generate(ps_recv *r) {
    int status = gen_press_on(r->gen, r->out_unheard, r->ndx_unheard);
    if (status == PS_OK) return PS_FULL;
    if (status == PS_DONE) return PS_AGAIN;
    return status == PS_AGAIN && recv_settle(r) ? PS_FULL : status;
}

/* Whether the file is wanted, once the generator knows; those before it that are wanted do not come any more. */
static int find_wanted(ps_recv *r, i32 ndx, bool *wanted) {
    i32 next;
    *wanted = false;
    for (;;) {
        while (!*wanted && gen_next_wanted(r->gen, ndx, &next)) {
            *wanted = next == ndx;
            if (!*wanted && no_update(r, next, false) != PS_OK) return PS_FAIL;
        }
        if (*wanted || gen_is_past(r->gen, ndx)) return PS_OK;
        int status = generate(r);
        if (status == PS_AGAIN) return gen_is_past(r->gen, ndx) ? find_wanted(r, ndx, wanted) : PS_OK;
        if (status != PS_OK) return status;
    }
}

int recv_take_wanted(ps_recv *r, ps_mux_in *m) {
    bool wanted;
    u16 *flags = &r->file->flags, waits = PS_F_REDO | PS_F_BATCHED;
    if (r->redoing) {
        wanted = (*flags & waits) == waits;
        if (wanted) {
            *flags &= (u16)~PS_F_BATCHED;
            r->resends_missing--;
        }
    } else {
        int status = find_wanted(r, r->ndx, &wanted);
        if (status != PS_OK) return status;
        *flags |= PS_F_BATCHED;
    }
    if (!wanted) ps_log(r->c, PS_LOG_INFO, "(Skipping batched update for%s \"%s\")\n", r->redoing ? " resend of" : "", r->path);
    if (wanted && r->c->o.dry_run) recv_log_item(r, m, PS_LOG_CLIENT);
    r->skipped = !wanted || r->c->o.dry_run;
    r->state = RECV_HEAD;
    return PS_OK;
}

static int give_up_resends(ps_recv *r, const ps_flist *l) {
    const u16 waits = PS_F_REDO | PS_F_BATCHED;
    for (u32 i = 0; r->resends_missing && i < l->count; i++) {
        ps_file *f = &l->files[i];
        if (!S_ISREG(f->mode) || (f->flags & waits) != waits) continue;
        f->flags &= (u16)~PS_F_BATCHED;
        r->resends_missing--;
        if (no_update(r, l->ndx_start + (i32)i, true) != PS_OK) return PS_FAIL;
    }
    return PS_OK;
}

int recv_catch_up(ps_recv *r) {
    bool wanted;
    const ps_flist *l = r->all->first;
    while (l && l->answered) l = l->next;
    if (!l || !r->gen) return PS_OK;
    if (!r->c->o.inc_recurse && r->phase) return r->phase == 1 ? give_up_resends(r, l) : PS_OK;
    int status = find_wanted(r, l->ndx_start + (i32)l->count, &wanted);
    if (status != PS_OK || !r->c->o.inc_recurse) return status;
    if (give_up_resends(r, l) != PS_OK) return PS_FAIL;
    if (l->done_sent) return PS_OK;
    status = generate(r);
    return status == PS_AGAIN ? PS_OK : status; /* it is not through: whoever ends the list says so */
}
