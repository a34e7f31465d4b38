# IN   fields with a truth: their DAPI stores, pseudo-labels, truth
# OUT  benchmark/  segmentation.csv, segmentation_fields.csv, segmentation.png, index.html,
#      models/{model}/ of each trained network, labels/ and times/ of each method;
#      anomaly.csv, anomaly/ of each anomaly method and seed


wildcard_constraints:
    engine="votes|cellpose|maskrcnn",
    fold="[0-9]+",
    method="|".join(benchmark_choices.METHODS),
    anomaly="[a-z0-9_]+",
    backbone="[a-z0-9_.]+",
    seed="[0-9]+",


use rule finetune as benchmark_finetune with:
    input:
        manifest=out("manifests/benchmark.tsv"),
        dapi=each("dapi", RUN.truth_fields),
        qc=each("qc", RUN.truth_fields),
        labels=each("pseudo_labels", RUN.truth_fields),
        start=lambda wildcards: starting_weights(wildcards.engine),
    output:
        weights=out("benchmark/models/{engine}/weights.safetensors"),
        curve=out("benchmark/models/{engine}/curve.csv"),
        picture=out("benchmark/models/{engine}/curve.png"),
        record=out("benchmark/models/{engine}/record.json"),
    log:
        out("logs/benchmark_finetune/{engine}.log"),
    benchmark:
        out("benchmarks/benchmark_finetune/{engine}.tsv")
    conda:
        "../../envs/finetune_{engine}.yaml"
    params:
        code=lambda wildcards: code(f"finetune_{wildcards.engine}"),
        script=lambda wildcards: script(f"finetune_{wildcards.engine}"),
        network=lambda wildcards: network_options(wildcards.engine),
        more="--on-failure record",
        checkpoint=lambda wildcards: out(
            f"benchmark/models/{wildcards.engine}/checkpoint"
        ),


# on the truth of all fields but those of one fold: what the pseudo-labels are measured against
use rule finetune as benchmark_finetune_human with:
    input:
        manifest=out("manifests/benchmark.tsv"),
        dapi=each("dapi", RUN.truth_fields),
        qc=each("qc", RUN.truth_fields),
        truth=lambda wildcards: truth_files(),
        start=[],
    output:
        weights=out("benchmark/models/maskrcnn_human/{fold}/weights.safetensors"),
        curve=out("benchmark/models/maskrcnn_human/{fold}/curve.csv"),
        picture=out("benchmark/models/maskrcnn_human/{fold}/curve.png"),
        record=out("benchmark/models/maskrcnn_human/{fold}/record.json"),
    log:
        out("logs/benchmark_finetune_human/{fold}.log"),
    benchmark:
        out("benchmarks/benchmark_finetune_human/{fold}.tsv")
    conda:
        "../../envs/finetune_maskrcnn.yaml"
    params:
        code=code("finetune_maskrcnn"),
        script=script("finetune_maskrcnn"),
        network=network_options("maskrcnn"),
        more=lambda wildcards: (
            f"--labels truth --fold {wildcards.fold}/{folds()} --on-failure record"
        ),
        checkpoint=lambda wildcards: out(
            f"benchmark/models/maskrcnn_human/{wildcards.fold}/checkpoint"
        ),


rule benchmark_method:
    """Segment all fields that have a truth with one method, and time each."""
    input:
        manifest=out("manifests/benchmark.tsv"),
        dapi=each("dapi", RUN.truth_fields),
        qc=each("qc", RUN.truth_fields),
        weights=lambda wildcards: method_weights(wildcards.method),
    output:
        labels=out("benchmark/labels/{method}.zarr.zip"),
        times=out("benchmark/times/{method}.csv"),
    log:
        out("logs/benchmark_method/{method}.log"),
    benchmark:
        out("benchmarks/benchmark_method/{method}.tsv")
    conda:
        "../../envs/benchmark_method.yaml"
    threads: timed_threads()
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=1440,
    params:
        code=code("benchmark_method"),
        script=script("benchmark_method"),
        weights=lambda wildcards, input: (
            ["--weights", *input.weights] if input.weights else []
        ),
        device=config["device"],
        threads=config["threads"],
    shell:
        "python {params.script} --fields {input.manifest:q} --method {wildcards.method}"
        " {params.weights:q} --device {params.device} --threads {params.threads}"
        " --labels {output.labels:q} --times {output.times:q} > {log:q} 2>&1"


rule benchmark:
    """Compare all methods of segmentation with the truth."""
    input:
        manifest=out("manifests/benchmark.tsv"),
        dapi=each("dapi", RUN.truth_fields),
        truth=lambda wildcards: truth_files(),
        labels=expand(out("benchmark/labels/{method}.zarr.zip"), method=benchmarked()),
        times=expand(out("benchmark/times/{method}.csv"), method=benchmarked()),
    output:
        table=out("benchmark/segmentation.csv"),
        fields=out("benchmark/segmentation_fields.csv"),
        picture=out("benchmark/segmentation.png"),
        page=out("benchmark/index.html"),
    log:
        out("logs/benchmark_segmentation.log"),
    conda:
        "../../envs/benchmark_segmentation.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("benchmark_segmentation"),
        script=script("benchmark_segmentation"),
    shell:
        "python {params.script} --fields {input.manifest:q} --labels {input.labels:q}"
        " --times {input.times:q} --table {output.table:q} --fields-table {output.fields:q}"
        " --picture {output.picture:q} --page {output.page:q} > {log:q} 2>&1"


rule benchmark_anomaly_method:
    """Learn the reference by one anomaly method and score the nuclei of known class."""
    input:
        manifest=out("manifests/run.tsv"),
        qc=each("qc"),
        dapi=each("dapi"),
        nuclei=each("nuclei"),
        measurements=each("measurements"),
        lists=reference_lists("models"),
        truth=lambda wildcards: truth_files(),
        classes=class_files(),
        start=lambda wildcards: compared_start(wildcards.anomaly, wildcards.backbone),
    output:
        scores=out("benchmark/anomaly/{anomaly}-{backbone}-{seed}.parquet"),
        record=out("benchmark/anomaly/{anomaly}-{backbone}-{seed}.json"),
    log:
        out("logs/benchmark_anomaly/{anomaly}-{backbone}-{seed}.log"),
    conda:
        "../../envs/benchmark_anomaly_method.yaml"
    threads: timed_threads()
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=240,
    params:
        code=code("benchmark_anomaly_method"),
        script=script("benchmark_anomaly_method"),
        start=lambda wildcards, input: ["--start", input.start] if input.start else [],
        steps=options("anomaly", "steps"),
        device=config["device"],
        threads=config["threads"],
        checkpoint=out("benchmark/anomaly/{anomaly}-{backbone}-{seed}.pt"),
    shell:
        "python {params.script} --fields {input.manifest:q} --method {wildcards.anomaly}"
        " --backbone {wildcards.backbone} {params.start:q} {params.steps} --seed {wildcards.seed}"
        " --device {params.device} --threads {params.threads} --checkpoint {params.checkpoint:q}"
        " --scores {output.scores:q} --record {output.record:q} > {log:q} 2>&1"


rule benchmark_anomaly:
    """Compare all anomaly methods on nuclei of known class."""
    input:
        scores=anomaly_runs("parquet"),
        records=anomaly_runs("json"),
    output:
        table=out("benchmark/anomaly.csv"),
    log:
        out("logs/benchmark_anomaly.log"),
    conda:
        "../../envs/benchmark_anomaly.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=60,
    params:
        code=code("benchmark_anomaly"),
        script=script("benchmark_anomaly"),
    shell:
        "python {params.script} --scores {input.scores:q} --records {input.records:q}"
        " --table {output.table:q} > {log:q} 2>&1"
