# IN   fields/{field}/  dapi.zarr.zip, qc.json, pseudo_labels.zarr.zip of the training fields
# OUT  models/segmenter/  weights.safetensors, curve.csv, curve.png, record.json


rule finetune:
    """Train a segmenter on the pseudo-labels of the training fields."""
    input:
        manifest=out("manifests/training.tsv"),
        dapi=each("dapi", RUN.training_fields),
        qc=each("qc", RUN.training_fields),
        labels=each("pseudo_labels", RUN.training_fields),
        start=START,
    output:
        weights=out("models/segmenter/weights.safetensors"),
        curve=out("models/segmenter/curve.csv"),
        picture=out("models/segmenter/curve.png"),
        record=out("models/segmenter/record.json"),
    log:
        out("logs/finetune.log"),
    benchmark:
        out("benchmarks/finetune.tsv")
    conda:
        f"../../envs/{FINETUNE}.yaml"
    threads: config["threads"]
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=480,
    params:
        code=code(FINETUNE),
        script=script(FINETUNE),
        network=f"--network {NETWORK}" if NETWORK else "",
        start=lambda wildcards, input: ["--start", input.start] if input.start else [],
        steps=options("segmenter", "steps", "rounds"),
        more="",
        seed=config["seed"],
        device=config["device"],
        threads=config["threads"],
        # no output: what was reached stays when the job is killed
        checkpoint=out("models/segmenter/checkpoint"),
    shell:
        "python {params.script} --fields {input.manifest:q} {params.network} {params.start:q}"
        " {params.steps} {params.more} --seed {params.seed} --device {params.device} --threads {params.threads}"
        " --checkpoint {params.checkpoint:q} --weights {output.weights:q} --curve {output.curve:q}"
        " --picture {output.picture:q} --record {output.record:q} > {log:q} 2>&1"
