# IN   fields/{field}/  dapi.zarr.zip, qc.json, nuclei.tif, measurements.parquet
# OUT  models/reference/ (or slides/{slide}/reference/ where nothing is known to be normal),
#      fields/{field}/  anomaly.parquet, anomaly_map.zarr.zip


rule build_reference:
    """Learn what normal nuclei look like, from the reference or from the slide itself."""
    input:
        manifest=out("manifests/{scope}.tsv"),
        qc=lambda wildcards: each("qc", RUN.scope_fields(wildcards.scope)),
        dapi=lambda wildcards: each("dapi", RUN.scope_fields(wildcards.scope)),
        nuclei=lambda wildcards: each("nuclei", RUN.scope_fields(wildcards.scope)),
        measurements=lambda wildcards: each(
            "measurements", RUN.scope_fields(wildcards.scope)
        ),
        lists=lambda wildcards: reference_lists(wildcards.scope),
    output:
        bank=out("{scope}/reference/bank.parquet"),
        calibration=out("{scope}/reference/calibration.parquet"),
        thumbnails=out("{scope}/reference/thumbnails.zarr.zip"),
        record=out("{scope}/reference/record.json"),
    log:
        out("logs/build_reference/{scope}.log"),
    benchmark:
        out("benchmarks/build_reference/{scope}.tsv")
    conda:
        "../../envs/build_reference.yaml"
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("build_reference"),
        script=script("build_reference"),
        seed=config["seed"],
        method=options("anomaly", "method"),
        trim=lambda wildcards: "" if wildcards.scope == "models" else "--trim",
    shell:
        "python {params.script} --fields {input.manifest:q} --seed {params.seed} {params.method}"
        " {params.trim} --bank {output.bank:q} --calibration {output.calibration:q}"
        " --thumbnails {output.thumbnails:q} --record {output.record:q} > {log:q} 2>&1"


rule score_anomaly:
    """Score how far each nucleus of a field lies from the reference."""
    input:
        dapi=out("fields/{field}/dapi.zarr.zip"),
        qc=out("fields/{field}/qc.json"),
        nuclei=out("fields/{field}/nuclei.tif"),
        measurements=out("fields/{field}/measurements.parquet"),
        model=lambda wildcards: expand(
            "{folder}/{file}",
            folder=RUN.reference_folder(wildcards.field),
            file=plan.MODEL,
        ),
    output:
        anomaly=out("fields/{field}/anomaly.parquet"),
        map=out("fields/{field}/anomaly_map.zarr.zip"),
    log:
        out("logs/score_anomaly/{field}.log"),
    benchmark:
        out("benchmarks/score_anomaly/{field}.tsv")
    conda:
        "../../envs/score_anomaly.yaml"
    resources:
        **gpu_tag(),
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("score_anomaly"),
        script=script("score_anomaly"),
        reference=lambda wildcards: RUN.reference_folder(wildcards.field),
    shell:
        "python {params.script} --field {wildcards.field} --dapi {input.dapi:q} --qc {input.qc:q}"
        " --nuclei {input.nuclei:q} --reference {params.reference:q}"
        " --measurements {input.measurements:q}"
        " --anomaly {output.anomaly:q} --anomaly-map {output.map:q} > {log:q} 2>&1"
