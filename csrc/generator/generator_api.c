#include "generator/generator_inner.h"

#include "api/generator_api.h"

#include <stdlib.h>

struct ps_gen_trial {
    ps_gen *gen;
    ps_mux_out out;
    ps_ndx_state ndx;
    size_t jobs_read;
};

ps_gen_trial *ps_gen_trial_new(ps_ctx *c, ps_flists *all, ps_rules *rules, ps_root *dest) {
    ps_gen_trial *t = calloc(1, sizeof *t);
    if (!t) return NULL;
    t->gen = gen_new(c, all, rules, dest);
    t->ndx = ndx_state_make();
    mux_out_init(&t->out);
    if (t->gen) return t;
    ps_gen_trial_free(t);
    return NULL;
}

void ps_gen_trial_free(ps_gen_trial *t) {
    if (!t) return;
    gen_free(t->gen);
    mux_out_free(&t->out);
    free(t);
}

int ps_gen_trial_step(ps_gen_trial *t) {
    int status;
    do status = gen_step(t->gen, &t->out, &t->ndx);
    while (status == PS_OK);
    return status;
}

const uint8_t *ps_gen_trial_out(ps_gen_trial *t, size_t *len) {
    mux_out_close_frame(&t->out);
    *len = buf_used(&t->out.out);
    return buf_head(&t->out.out);
}

void ps_gen_trial_clear(ps_gen_trial *t) { buf_consume(&t->out.out, buf_used(&t->out.out)); }

void ps_gen_trial_eof(ps_gen_trial *t) { t->gen->all->eof = true; }

static const ps_settled meaning[] = {PS_SETTLED_OK, PS_SETTLED_REDO, PS_SETTLED_FAILED, PS_SETTLED_NO_SEND};

int ps_gen_trial_settled(ps_gen_trial *t, int32_t ndx, int how) { return gen_settled(t->gen, ndx, meaning[how & 3]); }

int ps_gen_trial_sender_settled(ps_gen_trial *t, int32_t ndx, int how) {
    return gen_settled_by_sender(t->gen, ndx, meaning[how & 3]);
}

void ps_gen_trial_phase_ended(ps_gen_trial *t) { gen_phase_ended(t->gen); }

int ps_gen_trial_list_done(ps_gen_trial *t) { return gen_first_list_done(t->gen); }

int32_t ps_gen_trial_job(ps_gen_trial *t, uint32_t *iflags, int64_t *basis_size) {
    size_t count;
    const ps_gen_job *jobs = gen_jobs(t->gen, &count);
    if (t->jobs_read >= count) {
        gen_jobs_taken(t->gen);
        t->jobs_read = 0;
        return -1;
    }
    const ps_gen_job *j = &jobs[t->jobs_read++];
    *iflags = j->iflags;
    *basis_size = j->basis_size;
    return j->ndx;
}

int ps_gen_trial_route(ps_gen_trial *t, int32_t ndx, bool swarm) {
    return swarm ? gen_route_swarm(t->gen, ndx) : gen_route_classic(t->gen, ndx);
}

uint32_t ps_attrs_dest_mode(const ps_ctx *c, uint32_t file_mode, uint32_t stat_mode, uint32_t default_perms, bool exists) {
    return attrs_dest_mode(c, file_mode, stat_mode, default_perms, exists);
}

uint32_t ps_chmod_tweak(const ps_ctx *c, uint32_t mode) { return chmod_tweak(c, mode); }

bool ps_attrs_same_time(const ps_ctx *c, int64_t a, uint32_t a_ns, int64_t b, uint32_t b_ns) {
    return attrs_same_time(c, a, a_ns, b, b_ns);
}
