# IN   fields/{field}/  dapi.zarr.zip, qc.json
# OUT  fields/{field}/  prompts.parquet, sam_masks.parquet, pseudo_labels.zarr.zip,
#      pseudo_labels.parquet, and a picture of each step; cellpose_masks.parquet in place
#      of sam_masks.parquet where Cellpose outlines


rule prompts:
    """Find candidates for nuclei in a training field and turn them into prompts."""
    input:
        dapi=out("fields/{field}/dapi.zarr.zip"),
        qc=out("fields/{field}/qc.json"),
    output:
        prompts=out("fields/{field}/prompts.parquet"),
        picture=out("fields/{field}/prompts.png"),
    log:
        out("logs/prompts/{field}.log"),
    benchmark:
        out("benchmarks/prompts/{field}.tsv")
    conda:
        "../../envs/prompts.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("prompts"),
        script=script("prompts"),
        coarse=options("segmenter", "coarse"),
    shell:
        "python {params.script} --dapi {input.dapi:q} --qc {input.qc:q} {params.coarse}"
        " --prompts {output.prompts:q} --picture {output.picture:q} > {log:q} 2>&1"


rule segment_sam:
    """Let a promptable model outline the candidates of a training field."""
    input:
        dapi=out("fields/{field}/dapi.zarr.zip"),
        qc=out("fields/{field}/qc.json"),
        prompts=out("fields/{field}/prompts.parquet"),
        weights=PROMPTABLE_WEIGHTS,
    output:
        masks=out("fields/{field}/sam_masks.parquet"),
        picture=out("fields/{field}/sam_masks.png"),
    log:
        out("logs/segment_sam/{field}.log"),
    benchmark:
        out("benchmarks/segment_sam/{field}.tsv")
    conda:
        "../../envs/segment_sam.yaml"
    threads: config["threads"]
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=240,
    params:
        code=code("segment_sam"),
        script=script("segment_sam"),
        options=options("sam"),
        weights=WEIGHTS,
        device=config["device"],
        # not {threads}, which --cores may lower: the result's last digits depend on it
        threads=config["threads"],
    shell:
        "python {params.script} --dapi {input.dapi:q} --qc {input.qc:q} --prompts {input.prompts:q}"
        " {params.options:q} --weights {params.weights:q} --device {params.device}"
        " --threads {params.threads} --masks {output.masks:q} --picture {output.picture:q}"
        " > {log:q} 2>&1"


rule segment_cellpose:
    """Let a Cellpose model outline the candidates of a training field."""
    input:
        dapi=out("fields/{field}/dapi.zarr.zip"),
        qc=out("fields/{field}/qc.json"),
        prompts=out("fields/{field}/prompts.parquet"),
        model=CELLPOSE,
    output:
        masks=out("fields/{field}/cellpose_masks.parquet"),
        picture=out("fields/{field}/cellpose_masks.png"),
    log:
        out("logs/segment_cellpose/{field}.log"),
    benchmark:
        out("benchmarks/segment_cellpose/{field}.tsv")
    conda:
        "../../envs/segment_cellpose.yaml"
    threads: config["threads"]
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=240,
    params:
        code=code("segment_cellpose"),
        script=script("segment_cellpose"),
        device=config["device"],
        threads=config["threads"],
    shell:
        "python {params.script} --dapi {input.dapi:q} --qc {input.qc:q} --prompts {input.prompts:q}"
        " --model {input.model:q} --device {params.device} --threads {params.threads}"
        " --masks {output.masks:q} --picture {output.picture:q} > {log:q} 2>&1"


rule pseudo_labels:
    """Choose the outlines of a training field that can be trusted as labels."""
    input:
        dapi=out("fields/{field}/dapi.zarr.zip"),
        qc=out("fields/{field}/qc.json"),
        prompts=out("fields/{field}/prompts.parquet"),
        masks=lambda wildcards: mask_table(wildcards.field),
    output:
        labels=out("fields/{field}/pseudo_labels.zarr.zip"),
        table=out("fields/{field}/pseudo_labels.parquet"),
        picture=out("fields/{field}/pseudo_labels.png"),
    log:
        out("logs/pseudo_labels/{field}.log"),
    benchmark:
        out("benchmarks/pseudo_labels/{field}.tsv")
    conda:
        "../../envs/pseudo_labels.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("pseudo_labels"),
        script=script("pseudo_labels"),
        options=options("pseudo_labels", "from", "refused"),
        masks=lambda wildcards, input: ["--masks", input.masks] if input.masks else [],
        seed=painting_seed(),
    shell:
        "python {params.script} --dapi {input.dapi:q} --qc {input.qc:q} --prompts {input.prompts:q}"
        " {params.masks:q} {params.options} {params.seed} --labels {output.labels:q}"
        " --table {output.table:q} --picture {output.picture:q} > {log:q} 2>&1"
